import { ImageMirror } from "buildfleet";

const mirror = new ImageMirror("collect", {
    images: {
        // Also what buildx's docker-container driver starts on a host's Docker daemon.
        buildkit: "docker.io/moby/buildkit:v0.33.1",
        debian: "docker.io/library/debian:bookworm-slim",
    },
    platforms: ["linux/amd64", "linux/arm64"],
    to: { archive: "images.tar" },
});

export const contents = mirror.contents;
export const copied = mirror.copied;
