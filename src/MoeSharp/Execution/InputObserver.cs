using MoeSharp.Tensors;

namespace MoeSharp.Execution;

/// <summary>Sees every row that meets a weight, on the calling thread.</summary>
/// <param name="weight">Weight.</param>
/// <param name="group">Matrix of its stack: expert or head; 0 where there is none.</param>
/// <param name="row">Input, [columns]; valid during the call.</param>
public delegate void InputObserver(Parameter weight, int group, ReadOnlySpan<float> row);
