namespace MoeSharp.Moe.Routing.Assignment;

/// <summary>Who holds which places at which price: one heap per kind of place, the cheapest place on top.</summary>
internal sealed class PlaceHeap
{
    private int[] _begins = []; // first place of each kind
    private int[] _counts = []; // places sold of each kind
    private long[] _prices = []; // of the places sold
    private int[] _holders = [];
    private int[] _kinds = []; // of each holder
    private int _numKinds;

    /// <summary>Places of each of the first kinds.</summary>
    public int PlacesPerExpert { get; private set; }

    /// <summary>Lays out the places: an expert's own, then, where there are any, one spare place of each expert.</summary>
    public void Reset(int numExperts, int placesPerExpert, bool hasSpare, int numBidders)
    {
        (PlacesPerExpert, _numKinds) = (placesPerExpert, hasSpare ? 2 * numExperts : numExperts);
        if (_begins.Length <= _numKinds)
        {
            (_begins, _counts) = (new int[_numKinds + 1], new int[_numKinds]);
        }

        if (_prices.Length < numBidders)
        {
            (_prices, _holders, _kinds) = (new long[numBidders], new int[numBidders], new int[numBidders]);
        }

        for (int kind = 0, begin = 0; kind <= _numKinds; kind++)
        {
            _begins[kind] = begin;
            begin += kind < numExperts ? placesPerExpert : 1;
        }
    }

    /// <summary>Frees all places.</summary>
    public void Clear() => Array.Clear(_counts);

    /// <summary>Kind of the place that a bidder holds.</summary>
    public int KindOf(int holder) => _kinds[holder];

    /// <summary>Sells a place of a kind, a free one or the cheapest.</summary>
    /// <param name="kind">Kind.</param>
    /// <param name="holder">Who buys.</param>
    /// <param name="price">What is paid; more than the kind's price.</param>
    /// <param name="lowest">Price of the kind; raised once all its places are sold.</param>
    /// <returns>Who loses the place, or -1.</returns>
    public int Sell(int kind, int holder, long price, ref long lowest)
    {
        int capacity = _begins[kind + 1] - _begins[kind];
        Span<long> prices = _prices.AsSpan(_begins[kind], capacity);
        Span<int> holders = _holders.AsSpan(_begins[kind], capacity);
        _kinds[holder] = kind;
        int loser = -1;
        if (_counts[kind] < capacity)
        {
            Rise(prices, holders, _counts[kind]++, price, holder);
        }
        else
        {
            loser = holders[0];
            Sink(prices, holders, price, holder);
        }

        if (_counts[kind] == capacity)
        {
            lowest = prices[0];
        }

        return loser;
    }

    // Puts a place at the end and lifts it above dearer ones.
    private static void Rise(Span<long> prices, Span<int> holders, int at, long price, int holder)
    {
        while (at > 0 && prices[(at - 1) / 2] > price)
        {
            int above = (at - 1) / 2;
            (prices[at], holders[at]) = (prices[above], holders[above]);
            at = above;
        }

        (prices[at], holders[at]) = (price, holder);
    }

    // Replaces the cheapest place and lets it sink below cheaper ones.
    private static void Sink(Span<long> prices, Span<int> holders, long price, int holder)
    {
        int at = 0;
        while ((2 * at) + 1 < prices.Length)
        {
            int below = (2 * at) + 1;
            below = below + 1 < prices.Length && prices[below + 1] < prices[below] ? below + 1 : below;
            if (prices[below] >= price)
            {
                break;
            }

            (prices[at], holders[at]) = (prices[below], holders[below]);
            at = below;
        }

        (prices[at], holders[at]) = (price, holder);
    }
}
