/** What is wrong with a JoinedImage's arguments, and the piece of the message that says so. */
export const badJoinSettings: [name: string, change: Record<string, unknown>, message: string][] = [
    ["no images", { images: [] }, "images: empty; expected a list of images, at least one"],
    ["text in place of a list", { images: "r.example.com/app:1" }, "images: found text; expected a list of images"],
    ["neither tag nor digest", { images: ["r.example.com/app"] }, 'images[0]: "r.example.com/app" names neither tag'],
    ["an address", { images: ["https://r.example.com/app:1"] }, 'leave out "https://"'],
    ["a digest that is none", { images: ["r.example.com/app@sha256:12"] }, "images[0]: "],
    ["a name in capitals", { images: ["r.example.com/App:1"] }, "repository names are in lower case"],
    ["a setting that is none", { images: [{ image: "a:1", platfrom: "linux/amd64" }] }, 'did you mean "platform"?'],
    ["no image", { images: [{ platform: "linux/amd64" }] }, "images[0].image: missing"],
    ["an unknown platform", part({ platform: "linux/arm65" }), 'images[0].platform: "linux/arm65" is not a platform'],
    ["a variant of another architecture", part({ platform: "linux/arm64", variant: "v7" }), "images[0].variant: "],
    [
        "a variant against the name",
        part({ platform: "linux/armhf", variant: "v6" }),
        '"v6" does not fit "linux/arm/v7"',
    ],
    ["a variant of nothing", part({ variant: "v8" }), "images[0].variant: set without a platform; set platform, too"],
    ["a version of nothing", part({ osVersion: "10.0" }), "images[0].osVersion: set without a platform"],
    ["an empty feature", part({ platform: "linux/amd64", osFeatures: [""] }), "images[0].osFeatures[0]: empty"],
    [
        "a feature twice",
        { format: "docker", ...part({ platform: "linux/amd64", features: ["sse4", "sse4"] }) },
        "images[0].features[1]: the same as item 0",
    ],
    [
        "features in OCI's index",
        part({ platform: "linux/amd64", features: ["sse4"] }),
        'images[0].features: set for an OCI index, which reserves it; expected format "docker"',
    ],
    [
        "a platform twice, in two spellings",
        { images: ["armv7", "linux/arm/v7"].map((platform, i) => ({ image: `a:${i}`, platform })) },
        "images[1].platform: the same as images[0]'s; expected each platform once",
    ],
    [
        "a variant that goes without saying makes no other platform",
        {
            images: [
                { image: "a:1", platform: "linux/arm64" },
                { image: "a:2", platform: "arm64", variant: "v8" },
            ],
        },
        "images[1].platform: the same as images[0]'s",
    ],
    ["a format that is none", { format: "dokcer" }, 'did you mean "docker"?'],
    [
        "annotations of a list",
        { format: "docker", annotations: { a: "b" } },
        "annotations: set for a Docker manifest list",
    ],
    [
        "annotations of a list's entry",
        { format: "docker", ...part({ annotations: { a: "b" } }) },
        "images[0].annotations: set for a Docker manifest list",
    ],
    ["a repository with a tag", { repository: "r.example.com/app:1" }, "repository: "],
    ["a version that is none", { version: "v1.4" }, 'did you mean "1.4.0"?'],
    ["a tag that is none", { tags: ["a tag"] }, 'tags[0]: "a tag" is not a tag'],
    ["a tag of the version", { version: "1.4.2", tags: ["1.4"] }, 'tags[0]: "1.4" is a tag of version 1.4.2 already'],
    ["a moving tag that may not move", { version: "1.4.2", immutableTags: ["latest"] }, "immutableTags[0]: "],
    ["a key that is none", { sign: { key: "images.key" } }, "sign.key"],
];

function part(more: Record<string, unknown>) {
    return { images: [{ image: "r.example.com/app:1", ...more }] };
}
