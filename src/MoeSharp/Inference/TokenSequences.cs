using System.Text.Json;

namespace MoeSharp.Inference;

/// <summary>Token ids from a JSON file.</summary>
public static class TokenSequences
{
    /// <summary>Reads an array of ids, or an array of such arrays.</summary>
    /// <exception cref="ConfigurationException">The file is missing, is not such an array, or a sequence is empty.</exception>
    public static int[][] Read(string path)
    {
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"{path}: no such file. Give a JSON array of token ids.");
        }

        using JsonDocument document = Parse(path);
        JsonElement root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Array || root.GetArrayLength() == 0)
        {
            throw Wrong(path, "the file holds no array of ids");
        }

        bool isNested = root[0].ValueKind == JsonValueKind.Array;
        int[][] sequences = isNested ? [.. root.EnumerateArray().Select((sequence, index) => ReadIds(sequence, path, $"sequence {index}"))] : [ReadIds(root, path, "the array")];
        return sequences;
    }

    /// <summary>Checks every id against a vocabulary.</summary>
    /// <param name="sequences">Ids.</param>
    /// <param name="vocabSize">Ids go from 0 to one less.</param>
    /// <param name="source">Where they come from, for the message.</param>
    /// <exception cref="ConfigurationException">One is outside.</exception>
    public static void CheckVocabulary(int[][] sequences, int vocabSize, string source)
    {
        for (int sequence = 0; sequence < sequences.Length; sequence++)
        {
            int index = Array.FindIndex(sequences[sequence], id => (uint)id >= (uint)vocabSize);
            if (index >= 0)
            {
                throw new ConfigurationException($"{source}: id {sequences[sequence][index]} at place {index} of sequence {sequence} is outside the model's vocabulary of {vocabSize}. Use the model's own tokenizer.");
            }
        }
    }

    private static JsonDocument Parse(string path)
    {
        try
        {
            return JsonDocument.Parse(File.ReadAllBytes(path));
        }
        catch (JsonException exception)
        {
            throw Wrong(path, exception.Message);
        }
    }

    private static int[] ReadIds(JsonElement array, string path, string where)
    {
        if (array.ValueKind != JsonValueKind.Array || array.GetArrayLength() == 0)
        {
            throw Wrong(path, $"{where} is not an array of at least one id");
        }

        int[] ids = new int[array.GetArrayLength()];
        int index = 0;
        foreach (JsonElement element in array.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt32(out ids[index]))
            {
                throw Wrong(path, $"place {index} of {where} is not a token id");
            }

            index++;
        }

        return ids;
    }

    private static ConfigurationException Wrong(string path, string problem) =>
        new($"{path}: {problem}. Give a JSON array of token ids, [1, 2, 3], or an array of such arrays.");
}
