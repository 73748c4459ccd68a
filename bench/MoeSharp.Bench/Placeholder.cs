namespace MoeSharp.Bench;

internal static class Placeholder;
