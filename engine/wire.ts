/** How properties travel: as protobuf structs, over channels without a limit of their own. */
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import type { Properties } from "./provider";

/** Structs have no size limit in the real engine either. */
export const CHANNEL = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

export const toStruct = (properties: Properties) => Struct.fromJavaScript(properties);
export const fromStruct = (struct: Struct | undefined) => (struct?.toJavaScript() ?? {}) as Properties;
