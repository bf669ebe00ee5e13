/** How a registry is reached: what every client of it, and the nodes, must know. Plain values, as operations get them. */
export interface RegistryConnection {
    /** Plain HTTP; default false. */
    plainHttp?: boolean;
    /** PEM of the private authority that signed the registry's certificate; default the system's. */
    ca?: string;
    /** With `password`; default what Docker's own configuration says. */
    username?: string;
    /** A secret. */
    password?: string;
}
