using MoeSharp.Data;
using MoeSharp.Tokenization;

namespace MoeSharp.Training;

/// <summary>Picks pieces of held-out text for a model to continue: beginnings of documents, or of lines where there are few documents.</summary>
public static class HeldOutPrompts
{
    private const int PromptTokens = 12; // enough to tell a kind of text, little enough that the model must go on by itself (arbitrary)
    private const int SearchedTokens = 256; // for the begin of a line (arbitrary)

    /// <summary>Picks evenly over the split, the same for the same data.</summary>
    /// <param name="dataset">Tokens.</param>
    /// <param name="tokenizer">Their tokenizer.</param>
    /// <param name="most">How many at most; fewer where there is too little text.</param>
    /// <returns>Texts that are not blank, in the order of the split.</returns>
    public static IReadOnlyList<ExamplePrompt> Choose(TokenDataset dataset, Tokenizer tokenizer, int most)
    {
        TokenSplit split = dataset.Validation;
        int[] documents = [.. Enumerable.Range(0, split.NumPassages).Where(split.BeginsDocument)];
        List<ExamplePrompt> prompts = [];
        for (int index = 0; index < most; index++)
        {
            ExamplePrompt prompt;
            if (documents.Length >= most)
            {
                int passage = documents[(int)((long)index * documents.Length / most)];
                prompt = Read(dataset, tokenizer, passage, split.PassageBegin(passage));
            }
            else
            {
                long token = index * split.NumTokens / most;
                int passage = PassageOf(split, token);
                prompt = Read(dataset, tokenizer, passage, token == split.PassageBegin(passage) ? token : NextLine(split, tokenizer, token));
            }

            if (!string.IsNullOrWhiteSpace(prompt.Text) && !prompts.Contains(prompt))
            {
                prompts.Add(prompt);
            }
        }

        return prompts;
    }

    /// <summary>Half of what is left of the document at most, so that there is something to continue.</summary>
    private static ExamplePrompt Read(TokenDataset dataset, Tokenizer tokenizer, int passage, long begin)
    {
        TokenSplit split = dataset.Validation;
        long left = split.PassageEnd(split.EndOfDocument(passage) - 1) - begin;
        int[] ids = new int[Math.Clamp((left + 1) / 2, 1, PromptTokens)];
        new TokenReader(split).Read(begin, ids);
        string text = tokenizer.Decode(ids, skipSpecialTokens: true);
        return new ExamplePrompt(dataset.Domains[split.PassageDomain(passage)], text.Trim('\ufffd')); // tokens may be parts of a character
    }

    private static int PassageOf(TokenSplit split, long token)
    {
        int passage = 0;
        while (passage + 1 < split.NumPassages && split.PassageBegin(passage + 1) <= token)
        {
            passage++;
        }

        return passage;
    }

    /// <summary>The token after the next that ends with a line break; the token itself where there is none near.</summary>
    private static long NextLine(TokenSplit split, Tokenizer tokenizer, long token)
    {
        int[] ids = new int[Math.Min(SearchedTokens, split.PassageEnd(PassageOf(split, token)) - token)];
        new TokenReader(split).Read(token, ids);
        int lineEnd = Array.FindIndex(ids, id => tokenizer.TokenBytes(id) is [.., (byte)'\n']);
        return lineEnd >= 0 && lineEnd + 1 < ids.Length ? token + lineEnd + 1 : token;
    }
}
