import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { describeMachine, startMachine } from "../../drivers/aws/ec2";
import { AwsError } from "../../drivers/aws/errors";
import { runInstances } from "../support/machines-on-ec2";
import {
    type AwsProxy,
    ec2Error,
    first,
    type Moto,
    REGION,
    startAwsProxy,
    startMoto,
    useEnvironment,
} from "../support/moto";

let moto: Moto;
let proxy: AwsProxy;
let undo: () => void;

beforeAll(async () => {
    moto = await startMoto();
    proxy = await startAwsProxy(moto);
});
afterAll(async () => {
    await proxy?.stop();
    await moto?.close();
});
beforeEach(() => {
    undo = useEnvironment(proxy.env);
});
afterEach(() => {
    undo();
    proxy.reset();
});

const failure = async (work: Promise<unknown>): Promise<AwsError> => {
    const error = await work.then(
        () => undefined,
        (thrown: unknown) => thrown,
    );
    if (!(error instanceof AwsError)) throw new Error(`not an AwsError: ${error}`);
    expect(error.message).not.toContain(process.env.AWS_SECRET_ACCESS_KEY);
    return error;
};

describe("an AWS API that does not do what was asked", () => {
    it("is asked again while it throttles, and the caller sees nothing of it", async () => {
        const [id = ""] = await runInstances();
        proxy.on("DescribeInstances", first(2, ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503)));
        expect((await describeMachine(REGION, id)).state).toBe("running");
        expect(proxy.actions().filter((name) => name === "DescribeInstances")).toHaveLength(3);
    });

    it("is given up when it throttles for ever, with the action and what to do", async () => {
        process.env.AWS_MAX_ATTEMPTS = "2";
        proxy.on("DescribeInstances", () => ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503));
        const error = await failure(describeMachine(REGION, "i-1"));
        expect(error.code).toBe("THROTTLED");
        expect(error.message).toMatch(/^ec2:DescribeInstances in eu-central-1: AWS throttles .*\nnext: run again in/);
        expect(proxy.actions()).toHaveLength(2);
    });

    it.each<[string, string, number, AwsError["code"], RegExp]>([
        ["RequestExpired", "Request has expired.", 400, "EXPIRED_CREDENTIALS", /have expired .*\nnext: log in again/],
        ["ExpiredToken", "The token is expired.", 400, "EXPIRED_CREDENTIALS", /have expired .*\nnext: log in again/],
        ["AuthFailure", "AWS was not able to validate", 401, "BAD_CREDENTIALS", /does not accept .*\nnext: check with/],
        ["OptInRequired", "You are not subscribed", 401, "OTHER", /You are not subscribed \(OptInRequired, HTTP 401\)/],
        ["InsufficientInstanceCapacity", "We have none.", 500, "CAPACITY", /We have none\. .*\nnext: run again later/],
        ["InternalError", "An internal error", 500, "OTHER", /the service failed \(HTTP 500\)\nnext: run again/],
    ])("says what %s means, and what to do", async (code, said, status, kind, text) => {
        process.env.AWS_MAX_ATTEMPTS = "1";
        proxy.on("StartInstances", () => ec2Error(code, said, status));
        const error = await failure(startMachine(REGION, "i-1"));
        expect([error.code, error.action, error.awsCode]).toEqual([kind, "ec2:StartInstances", code]);
        expect(error.message).toMatch(text);
    });

    it("names the permission that is missing, without the blob that only AWS can read", async () => {
        const said =
            "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ci is not authorized to " +
            "perform: ec2:StartInstances on resource: arn:aws:ec2:eu-central-1:1:instance/i-1 because no identity-based " +
            "policy allows the ec2:StartInstances action. Encoded authorization failure message: AAAABBBBCCCC";
        proxy.on("StartInstances", () => ec2Error("UnauthorizedOperation", said, 403));
        const error = await failure(startMachine(REGION, "i-1"));
        expect(error.code).toBe("DENIED");
        expect(error.message).toContain("next: allow ec2:StartInstances to");
        expect(error.message).not.toContain("AAAABBBB");
    });

    it("is not asked without credentials", async () => {
        delete process.env.AWS_ACCESS_KEY_ID;
        const error = await failure(describeMachine(REGION, "i-1"));
        expect(error.code).toBe("NO_CREDENTIALS");
        expect(error.message).toContain("next: set AWS_PROFILE");
        expect(proxy.actions()).toEqual([]);
    });

    it.each(["mars", "", "eu-central-1a", "EU-CENTRAL-1"])("is not asked in the region %j", async (region) => {
        const error = await failure(describeMachine(region, "i-1"));
        expect(error.code).toBe("BAD_REGION");
        expect(error.message).toContain(`"${region}" is not the name of an AWS region`);
        expect(proxy.actions()).toEqual([]);
    });

    it("says so when there is no way to it", async () => {
        process.env.AWS_ENDPOINT_URL = "http://127.0.0.1:1";
        process.env.AWS_MAX_ATTEMPTS = "1";
        const error = await failure(describeMachine(REGION, "i-1"));
        expect(error.code).toBe("UNREACHABLE");
        expect(error.message).toMatch(/ECONNREFUSED.*\nnext: is there a way from here to ec2 in eu-central-1/);
    });
});
