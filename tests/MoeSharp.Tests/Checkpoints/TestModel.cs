using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Parameters of small models without the model.</summary>
internal static class TestModel
{
    /// <summary>Two layers, one dense, with every optional tensor of the family.</summary>
    public static readonly ModelConfig Small = new()
    {
        VocabSize = 12,
        HiddenSize = 8,
        IntermediateSize = 6,
        NumHiddenLayers = 2,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        HeadDim = 2,
        MaxPositionEmbeddings = 16,
        AttentionBias = true,
        Moe = new MoeConfig { NumExperts = 3, TopK = 2, IntermediateSize = 5, NumSharedExperts = 2, FirstKDenseReplace = 1 },
    };

    /// <summary>As few tensors as a model can have.</summary>
    public static readonly ModelConfig Least = Small with { NumHiddenLayers = 1, AttentionBias = false, TieWordEmbeddings = true, Moe = null };

    /// <summary>A dense model whose queries and keys GGUF files keep in another order; rows of 64 fill blocks of 32.</summary>
    public static readonly ModelConfig Llama = Least with { ModelType = "llama", HiddenSize = 64, HeadDim = 16, TieWordEmbeddings = false };

    /// <summary>All parameters of a model in its order, filled with numbers that depend on seed, name and place.</summary>
    public static List<Parameter> Parameters(ModelConfig config, int seed)
    {
        List<Parameter> parameters = [];
        void Add(string name, Shape shape)
        {
            Parameter parameter = new(name, shape);
            Random random = new(seed + parameters.Count);
            foreach (ref float value in parameter.Value)
            {
                value = random.NextSingle() - 0.5f;
            }

            parameters.Add(parameter);
        }

        int hidden = config.HiddenSize;
        Add("embedding", new Shape(config.VocabSize, hidden));
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            string path = $"layers.{layer}.";
            int rows = (config.NumAttentionHeads + (2 * config.NumKeyValueHeads)) * config.HeadDim;
            Add(path + "attention_norm", new Shape(hidden));
            Add(path + "attention.qkv_projection", new Shape(rows, hidden));
            if (config.AttentionBias)
            {
                Add(path + "attention.qkv_bias", new Shape(rows));
            }

            Add(path + "attention.output_projection", new Shape(hidden, config.NumAttentionHeads * config.HeadDim));
            if (config.AttentionBias)
            {
                Add(path + "attention.output_bias", new Shape(hidden));
            }

            Add(path + "feed_forward_norm", new Shape(hidden));
            if (!config.IsMoeLayer(layer) || config.Moe is not { } moe)
            {
                Add(path + "feed_forward.gate_up_projection", new Shape(2 * config.IntermediateSize, hidden));
                Add(path + "feed_forward.down_projection", new Shape(hidden, config.IntermediateSize));
                continue;
            }

            if (moe.Router is TopKRouterConfig)
            {
                Add(path + "moe.router", new Shape(moe.NumExperts, hidden));
            }

            Add(path + "moe.experts.gate_up_projection", new Shape(moe.NumExperts, 2 * moe.IntermediateSize, hidden));
            Add(path + "moe.experts.down_projection", new Shape(moe.NumExperts, hidden, moe.IntermediateSize));
            if (moe.NumSharedExperts > 0)
            {
                Add(path + "moe.shared_experts.gate_up_projection", new Shape(2 * moe.NumSharedExperts * moe.IntermediateSize, hidden));
                Add(path + "moe.shared_experts.down_projection", new Shape(hidden, moe.NumSharedExperts * moe.IntermediateSize));
            }
        }

        Add("final_norm", new Shape(hidden));
        if (!config.TieWordEmbeddings)
        {
            Add("head", new Shape(config.VocabSize, hidden));
        }

        return parameters;
    }

    /// <summary>One checkpoint's content; weights and moments depend on the step.</summary>
    public static CheckpointContent Content(ModelConfig config, long step)
    {
        List<Parameter> parameters = Parameters(config, (int)step);
        return new CheckpointContent
        {
            Config = config,
            Parameters = parameters,
            State = new TrainerState(step, step * 100, $$"""{"rng":[{{step}},18446744073709551615],"note":"a"}"""),
            Tensors = Moments(parameters, step),
        };
    }

    /// <summary>Two moments per parameter.</summary>
    public static List<TrainerTensor> Moments(IReadOnlyList<Parameter> parameters, long step)
    {
        List<TrainerTensor> moments = [];
        foreach (Parameter parameter in parameters)
        {
            float[] first = new float[parameter.Shape.Length];
            float[] second = new float[parameter.Shape.Length];
            first.AsSpan().Fill(step + 0.25f);
            second.AsSpan().Fill(step + 0.5f);
            moments.Add(new TrainerTensor(parameter.Name + ".first_moment", parameter.Shape, () => first));
            moments.Add(new TrainerTensor(parameter.Name + ".second_moment", parameter.Shape, () => second));
        }

        return moments;
    }
}
