namespace MoeSharp.Checkpoints.Gguf;

/// <summary>Moves a slice from one tensor to another that holds the same elements in another order.</summary>
/// <param name="Steps">For each axis the elements from one index to the next: in the old tensor, in the new one. Old steps fall.</param>
internal readonly record struct TensorAxes(params (long Old, long New)[] Steps)
{
    /// <summary>The slice of the new tensor.</summary>
    /// <param name="slice">Slice of the old tensor; neither its rows nor its columns run from the end of one axis into the next.</param>
    /// <param name="name">Name of the new tensor.</param>
    /// <param name="shape">Dimensions of the new tensor.</param>
    public WeightSlice Move(WeightSlice slice, string name, params long[] shape) => slice with
    {
        CheckpointName = name,
        CheckpointShape = shape,
        SourceOffset = Map(slice.SourceOffset),
        SourceRowStep = Map(slice.SourceRowStep),
        SourceColumnStep = Map(slice.SourceColumnStep),
    };

    private long Map(long element)
    {
        long mapped = 0;
        foreach ((long old, long @new) in Steps)
        {
            mapped += element / old * @new;
            element %= old;
        }

        return mapped;
    }
}
