/** Has the last word on a child's arguments: gets them and gives back what is used. */
export type Transform<Args> = (args: Args, name?: string) => Args;

export function applyTransform<Args>(transform: Transform<Args> | undefined, args: Args, name?: string): Args {
    return transform ? transform(args, name) : args;
}
