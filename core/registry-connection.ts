/** A registry of Amazon ECR, whose passwords are tokens that live for 12 hours. */
export interface EcrAccess {
    /** `eu-central-1` */
    region: string;
    /** The account, 12 digits; default that of the credentials. */
    registryId?: string;
}

/** What a client shows to a server that lets in only who has a certificate of its authority. */
export interface ClientCertificate {
    /** PEM; intermediate certificates may follow it. */
    certificate: string;
    /** PEM, not encrypted. A secret. */
    privateKey: string;
}

/** A password of one registry. */
export interface RegistryCredential {
    /** `host[:port]` */
    address: string;
    username: string;
    /** A secret. */
    password: string;
}

/** How a registry is reached: what every client of it, and the nodes, must know. Plain values, as operations get them. */
export interface RegistryConnection {
    /** Plain HTTP; default false. */
    plainHttp?: boolean;
    /** PEM of the private authority that signed the registry's certificate; default the system's. */
    ca?: string;
    /** For a registry that asks for one; default none. */
    clientCertificate?: ClientCertificate;
    /** With `password`; default what Docker's own configuration says. */
    username?: string;
    /** A secret. */
    password?: string;
    /** Of its mirrors: whoever builds hands them to the nodes, which ask those first. */
    mirrorCredentials?: RegistryCredential[];
    /** The registry is Amazon's: its token takes the place of a password, and is asked for when it is needed. */
    ecr?: EcrAccess;
}
