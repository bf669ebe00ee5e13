/**
 * bcrypt (Provos and Mazières, "A Future-Adaptable Password Scheme", USENIX 1999), the only kind of hash that the registry
 * (CNCF distribution) takes in its htpasswd file. Checked against libxcrypt's.
 */

/** Rounds of Blowfish's key schedule: half are P and half are S. */
const P_WORDS = 18;
const S_WORDS = 1024;

/** bcrypt's own base64. */
const ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** The text that is encrypted, 64 times. */
const TEXT = Buffer.from("OrpheanBeholderScryDoubt");
const SALT_BYTES = 16;
/** The last byte of the 24 is left out. */
const HASH_BYTES = 23;

let initial: { p: Int32Array; s: Int32Array } | undefined;

/** Blowfish starts from the digits of pi's fraction (Schneier 1993); Machin's formula makes them, as one large number. */
function initialState() {
    if (initial) return initial;
    const words = P_WORDS + S_WORDS;
    const guard = 64n;
    const one = 1n << (BigInt(words) * 32n + guard);
    const arctanOfInverse = (x: bigint) => {
        let power = one / x;
        let sum = power;
        for (let n = 3n, sign = -1n; power > 0n; n += 2n, sign = -sign) {
            power /= x * x;
            sum += (sign * power) / n;
        }
        return sum;
    };
    const pi = 4n * (4n * arctanOfInverse(5n) - arctanOfInverse(239n));
    const fraction = ((pi - 3n * one) >> guard).toString(16).padStart(words * 8, "0");
    const all = Int32Array.from({ length: words }, (_, i) => Number.parseInt(fraction.slice(i * 8, i * 8 + 8), 16));
    initial = { p: all.slice(0, P_WORDS), s: all.slice(P_WORDS) };
    return initial;
}

/** Blowfish with bcrypt's expensive key schedule. */
class Blowfish {
    private readonly p = initialState().p.slice();
    private readonly s = initialState().s.slice();
    private left = 0;
    private right = 0;

    constructor(key: Int32Array, salt: Int32Array, cost: number) {
        this.expand(key, salt);
        const none = new Int32Array(4);
        const saltAsKey = Int32Array.from({ length: P_WORDS }, (_, i) => salt[i % 4] ?? 0);
        for (let round = 2 ** cost; round > 0; round--) {
            this.expand(key, none);
            this.expand(saltAsKey, none);
        }
    }

    /** Encrypts pairs of words in place. */
    encrypt(words: Int32Array): void {
        for (let i = 0; i < words.length; i += 2) {
            this.left = words[i] ?? 0;
            this.right = words[i + 1] ?? 0;
            this.block();
            words[i] = this.left;
            words[i + 1] = this.right;
        }
    }

    private expand(key: Int32Array, salt: Int32Array): void {
        const { p, s } = this;
        for (let i = 0; i < P_WORDS; i++) p[i] = (p[i] ?? 0) ^ (key[i] ?? 0);
        this.left = 0;
        this.right = 0;
        let at = 0;
        for (const words of [p, s])
            for (let i = 0; i < words.length; i += 2) {
                this.left ^= salt[at] ?? 0;
                this.right ^= salt[at + 1] ?? 0;
                at = (at + 2) % 4;
                this.block();
                words[i] = this.left;
                words[i + 1] = this.right;
            }
    }

    private block(): void {
        const { p, s } = this;
        let left = this.left ^ (p[0] as number);
        let right = this.right;
        for (let i = 1; i < 17; i++) {
            const mixed =
                ((((s[left >>> 24] as number) + (s[256 + ((left >>> 16) & 255)] as number)) ^
                    (s[512 + ((left >>> 8) & 255)] as number)) +
                    (s[768 + (left & 255)] as number)) |
                0;
            const next = right ^ mixed ^ (p[i] as number);
            right = left;
            left = next;
        }
        this.left = right ^ (p[17] as number);
        this.right = left;
    }
}

const wordsOf = (bytes: Uint8Array, count: number) =>
    Int32Array.from({ length: count }, (_, i) =>
        [0, 1, 2, 3].reduce((word, j) => (word << 8) | (bytes[(i * 4 + j) % bytes.length] ?? 0), 0),
    );

function encode(bytes: Uint8Array): string {
    let text = "";
    for (let bit = 0; bit < bytes.length * 8; bit += 6) {
        const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
        text += ALPHABET[(pair >> (10 - (bit & 7))) & 63];
    }
    return text;
}

function decode(text: string, length: number): Uint8Array {
    const bits = [...text].map((letter) => ALPHABET.indexOf(letter).toString(2).padStart(6, "0")).join("");
    return Uint8Array.from({ length }, (_, i) => Number.parseInt(bits.slice(i * 8, i * 8 + 8), 2));
}

/**
 * The hash of a password, as htpasswd files have it: `$2y$10$<salt><hash>`.
 *
 * @param password 1 to 72 bytes of UTF-8, no NUL: bcrypt would leave out the rest, and nobody would know
 * @param salt 16 random bytes
 * @param cost from 4 to 31; each one more doubles the work. 10 takes about a tenth of a second.
 * @throws RangeError for what is not so
 */
export function bcrypt(password: string, salt: Uint8Array, cost = 10): string {
    const bytes = Buffer.from(password, "utf8");
    if (bytes.length < 1 || bytes.length > 72 || bytes.includes(0))
        throw new RangeError("a password for bcrypt has 1 to 72 bytes and no NUL");
    if (salt.length !== SALT_BYTES || !Number.isInteger(cost) || cost < 4 || cost > 31)
        throw new RangeError("bcrypt takes a salt of 16 bytes and a cost from 4 to 31");
    const key = wordsOf(Buffer.concat([bytes, Buffer.alloc(1)]), P_WORDS);
    const cipher = new Blowfish(key, wordsOf(salt, 4), cost);
    const text = wordsOf(TEXT, TEXT.length / 4);
    for (let i = 0; i < 64; i++) cipher.encrypt(text);
    const hash = Buffer.alloc(TEXT.length);
    for (const [i, word] of text.entries()) hash.writeInt32BE(word, i * 4);
    return `$2y$${`${cost}`.padStart(2, "0")}$${encode(salt)}${encode(hash.subarray(0, HASH_BYTES))}`;
}

/** Whether a hash that {@link bcrypt} made is this password's. */
export function isBcryptOf(hash: string, password: string): boolean {
    const [, cost, salt] = /^\$2y\$(\d\d)\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}$/.exec(hash) ?? [];
    return salt !== undefined && bcrypt(password, decode(salt, SALT_BYTES), Number(cost)) === hash;
}
