/** The `Authorization` header of RFC 7617. */
export function basicHeader({ username, password }: { username: string; password: string }): string {
    return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}
