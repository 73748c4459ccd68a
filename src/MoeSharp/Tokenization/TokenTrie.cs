namespace MoeSharp.Tokenization;

/// <summary>
/// A search tree of byte strings. Nodes are numbered in breadth-first order, so that the children of one lie side by side: child k of
/// all is reached by edge k - 1, and a node needs no more than the index of its first edge.
/// </summary>
internal sealed class TokenTrie
{
    /// <summary>Where every search begins.</summary>
    public const int Root = 0;

    private readonly int[] _firstEdges;
    private readonly byte[] _edges;
    private readonly int[] _tokens;

    /// <summary>Builds the tree.</summary>
    /// <param name="texts">What to find; the index is the token. None is empty or there twice.</param>
    public TokenTrie(byte[][] texts)
    {
        int[] order = [.. Enumerable.Range(0, texts.Length)];
        Array.Sort(order, (left, right) => texts[left].AsSpan().SequenceCompareTo(texts[right]));
        List<int> firstEdges = [];
        List<byte> edges = [];
        List<int> tokens = [];
        Queue<Branch> open = new([new Branch(0, order.Length, 0)]);
        while (open.TryDequeue(out Branch branch))
        {
            (int first, int end, int depth) = branch;
            firstEdges.Add(edges.Count);
            bool isToken = first < end && texts[order[first]].Length == depth;
            tokens.Add(isToken ? order[first++] : -1);
            while (first < end)
            {
                byte edge = texts[order[first]][depth];
                int next = first + 1;
                while (next < end && texts[order[next]][depth] == edge)
                {
                    next++;
                }

                edges.Add(edge);
                open.Enqueue(new Branch(first, next, depth + 1));
                first = next;
            }
        }

        firstEdges.Add(edges.Count);
        (_firstEdges, _edges, _tokens) = ([.. firstEdges], [.. edges], [.. tokens]);
    }

    /// <summary>Goes on by one byte; false when nothing continues so.</summary>
    public bool TryStep(ref int node, byte value)
    {
        int first = _firstEdges[node];
        int edge = _edges.AsSpan(first, _firstEdges[node + 1] - first).IndexOf(value);
        node = first + edge + 1;
        return edge >= 0;
    }

    /// <summary>The token that ends at a node; -1 when none does.</summary>
    public int TokenAt(int node) => _tokens[node];

    private readonly record struct Branch(int First, int End, int Depth);
}
