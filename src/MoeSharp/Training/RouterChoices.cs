using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>How far the routing at one step of a run is that of its end.</summary>
/// <param name="Step">Training steps made.</param>
/// <param name="Layers">Decoder layers.</param>
/// <param name="Shares">Saturation of each of these layers.</param>
public sealed record SaturationPoint(long Step, IReadOnlyList<int> Layers, IReadOnlyList<double> Shares)
{
    /// <summary>Mean over the layers.</summary>
    public double Mean => Shares.Average();
}

/// <summary>Every choice of a model over a text, to compare the steps of a run.</summary>
/// <remarks>Router saturation at t = mean over tokens of |experts chosen at t and at the end| / k (OLMoE, arXiv 2409.02060, section 5.1).</remarks>
public sealed class RouterChoices
{
    private const int Magic = 0x4843534d; // "MSCH"
    private const int MostLayers = 100_000; // of a file: more is damage

    private readonly List<List<int>> _choices = []; // by MoE layer, [rows * top_k]
    private readonly List<int> _layers = []; // decoder layer of each
    private readonly List<int> _topK = [];
    private int _next;

    /// <summary>MoE layers with choices.</summary>
    public int NumLayers => _layers.Count;

    /// <summary>Starts a pass: its layers come in order.</summary>
    public void BeginPass() => _next = 0;

    /// <summary>Adds a layer of the pass.</summary>
    /// <param name="view">What the layer did.</param>
    /// <param name="counts">By row: whether it counts; empty when all do.</param>
    public void Add(in MoeView view, ReadOnlySpan<bool> counts)
    {
        if (_next == _layers.Count)
        {
            _choices.Add([]);
            _layers.Add(view.Layer);
            _topK.Add(view.TopK);
        }

        List<int> choices = _choices[_next++];
        int rows = view.ExpertIds.Length / view.TopK;
        for (int row = 0; row < rows; row++)
        {
            if (counts.Length == 0 || counts[row])
            {
                choices.AddRange(view.ExpertIds.Slice(row * view.TopK, view.TopK));
            }
        }
    }

    /// <summary>Saturation of these choices against those of the end.</summary>
    /// <param name="step">Training steps of these.</param>
    /// <param name="last">Those of the end, over the same text.</param>
    /// <exception cref="ConfigurationException">The two are of different models.</exception>
    public SaturationPoint Against(long step, RouterChoices last)
    {
        if (!_topK.SequenceEqual(last._topK) || !_layers.SequenceEqual(last._layers) || _choices.Zip(last._choices).Any(pair => pair.First.Count != pair.Second.Count))
        {
            throw new ConfigurationException($"the checkpoint of step {step} has other layers or another number of experts per token than the last one: they are not of one run");
        }

        return new SaturationPoint(step, _layers, [.. Enumerable.Range(0, _choices.Count).Select(index => Share(_choices[index], last._choices[index], _topK[index]))]);
    }

    /// <summary>Writes the choices.</summary>
    /// <param name="stream">Receives them.</param>
    public void Write(Stream stream)
    {
        using BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
        writer.Write(Magic);
        writer.Write(_layers.Count);
        for (int index = 0; index < _layers.Count; index++)
        {
            writer.Write(_layers[index]);
            writer.Write(_topK[index]);
            writer.Write(_choices[index].Count);
            foreach (int expert in _choices[index])
            {
                writer.Write(expert);
            }
        }
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <param name="stream">Holds nothing else.</param>
    /// <returns>The choices, or null where the file is damaged.</returns>
    public static RouterChoices? Read(Stream stream)
    {
        using BinaryReader reader = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
        try
        {
            int layers = reader.ReadInt32() == Magic ? reader.ReadInt32() : -1;
            if (layers is < 0 or > MostLayers)
            {
                return null;
            }

            RouterChoices choices = new();
            for (int index = 0; index < layers; index++)
            {
                (int layer, int topK, int count) = (reader.ReadInt32(), reader.ReadInt32(), reader.ReadInt32());
                if (topK <= 0 || count < 0 || count > (stream.Length - stream.Position) / sizeof(int))
                {
                    return null;
                }

                int[] experts = new int[count];
                for (int slot = 0; slot < count; slot++)
                {
                    experts[slot] = reader.ReadInt32();
                }

                choices._layers.Add(layer);
                choices._topK.Add(topK);
                choices._choices.Add([.. experts]);
            }

            return choices;
        }
        catch (EndOfStreamException)
        {
            return null;
        }
    }

    private static double Share(List<int> mine, List<int> theirs, int topK)
    {
        long same = 0;
        for (int begin = 0; begin + topK <= mine.Count; begin += topK)
        {
            for (int slot = begin; slot < begin + topK; slot++)
            {
                for (int other = begin; other < begin + topK; other++)
                {
                    same += mine[slot] >= 0 && mine[slot] == theirs[other] ? 1 : 0;
                }
            }
        }

        return mine.Count == 0 ? double.NaN : same / (double)mine.Count;
    }
}
