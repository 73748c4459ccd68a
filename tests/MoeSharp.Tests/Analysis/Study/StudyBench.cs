using MoeSharp.Analysis.Study;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Analysis.Study;

/// <summary>A small model with weights drawn at random and documents of random tokens, for studies whose outcome is computed again the plain way.</summary>
internal sealed class StudyBench : IDisposable
{
    public const int Experts = 6;
    public const int TopK = 2;

    public static readonly ModelConfig Config = new()
    {
        VocabSize = 40,
        HiddenSize = 32,
        IntermediateSize = 48,
        NumHiddenLayers = 3,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        HeadDim = 8,
        MaxPositionEmbeddings = 64,
        InitializerRange = 0.3f, // large, so that choices differ
        Moe = new MoeConfig { NumExperts = Experts, TopK = TopK, IntermediateSize = 16, NumSharedExperts = 1, FirstKDenseReplace = 1 },
    };

    private readonly List<IDisposable> _owned = [];

    public StudyBench(ModelConfig? config = null, int seed = 11)
    {
        Workers = Own(new WorkerPool(2));
        Model = Own(new LanguageModel(config ?? Config));
        WeightInit.Initialize(Model, (ulong)seed, WeightInitScheme.Normal, Workers);
    }

    public WorkerPool Workers { get; }

    public LanguageModel Model { get; }

    public Parameter Parameter(string name) => Model.Parameters.Single(parameter => parameter.Name == name);

    public StudyPasses Passes(StudyText text) => Own(new StudyPasses(Model, text, Workers, TestContext.Current.CancellationToken));

    public StudyResult Study(StudyText text, StudyRequest? request = null) =>
        ModelStudy.Run(new StudySubject("model", Model), text, "text", new TokenNames(null), request ?? new StudyRequest(), Workers, TestContext.Current.CancellationToken);

    /// <summary>Documents of two domains, of lengths from 2 to 30.</summary>
    public static StudyText Text(int documents = 14, int rowsPerPass = 60, int context = 12, int stride = 6)
    {
        Random random = new(5);
        return new StudyText([.. Enumerable.Range(0, documents).Select(index => StudyDocument.Of(
            [.. Enumerable.Range(0, 2 + random.Next(29)).Select(_ => random.Next(Config.VocabSize / 2) + (index % 3 == 0 ? Config.VocabSize / 2 : 0))],
            index % 3 == 0 ? "high" : "low",
            index + 1))], context, stride, rowsPerPass);
    }

    /// <summary>Every scored row with what the layers chose for it, from the copying record instead of the observer.</summary>
    public List<SeenRow> Rows(StudyText text)
    {
        using ForwardContext context = new(Workers);
        context.Routing.CaptureTokens = true;
        TokenBatch batch = new();
        List<SeenRow> rows = [];
        for (int pass = 0; pass < text.NumPasses; pass++)
        {
            text.Fill(pass, batch);
            Model.Loss(batch, new float[batch.Count], context);
            int row = 0;
            foreach (StudyWindow window in text.Windows(pass))
            {
                for (int index = window.Begin; index < window.End; index++, row++)
                {
                    if (batch.Targets[row] >= 0)
                    {
                        rows.Add(new SeenRow(pass, window.Document, batch.TokenIds[row],
                            [.. context.Routing.Layers.Select(layer => layer.ExpertIds[(row * TopK)..((row + 1) * TopK)])],
                            [.. context.Routing.Layers.Select(layer => layer.RoutingWeights[(row * TopK)..((row + 1) * TopK)])],
                            [.. context.Routing.Layers.Select(layer => layer.RouterProbs[(row * Experts)..((row + 1) * Experts)])]));
                    }
                }
            }
        }

        return rows;
    }

    public void Dispose() => _owned.AsEnumerable().Reverse().ToList().ForEach(one => one.Dispose());

    private T Own<T>(T one)
        where T : IDisposable
    {
        _owned.Add(one);
        return one;
    }
}

/// <summary>A scored row; choices, weights and probabilities by MoE layer.</summary>
internal sealed record SeenRow(int Pass, int Document, int Token, int[][] Experts, float[][] Weights, float[][] Probs);
