namespace MoeSharp.Moe.Routing.Assignment;

/// <summary>Gives every token one expert so that all experts get equally many and the sum of the chosen affinities is the largest there is.</summary>
/// <remarks>
/// Of T tokens each of E experts gets floor(T / E) or ceil(T / E): exactly T mod E experts get one more, those for which it pays most. It is the balanced
/// assignment of BASE layers (arXiv 2103.16716), found by an auction for transportation problems (Bertsekas and Castanon 1989): tokens bid for places,
/// the places of one expert have one price, the lowest of theirs, and a token outbid bids again. Affinities are first rounded to whole
/// multiples of about 2^-26 of the largest and prices are whole numbers, so bids that exceed the second best by a last increment below 1 / tokens end in an optimum.
/// Every bid raises a price by at least that increment, so the auction ends; coarser increments first make it short.
/// Places beyond floor(T / E) are a kind of their own, of which E - T mod E go to bidders without a token: this keeps every expert at floor(T / E) at least.
/// </remarks>
public sealed class BalancedAuction
{
    private const int Bits = 26; // of the largest affinity: finer than float32
    private const int FirstShare = 4; // of the affinities' range: the first increment
    private const int Refinement = 8; // increments fall by this factor

    private readonly PlaceHeap _places = new();
    private int[] _rows = []; // row of each bidding token
    private long[] _values = []; // [tokens, experts]
    private long[] _prices = []; // lowest of each kind of place
    private int[] _queue = []; // bidders without a place
    private int _numTokens;
    private int _numExperts;
    private int _numBidders;
    private bool _hasSpare; // whether experts have a place beyond floor(T / E)

    /// <summary>Assigns.</summary>
    /// <param name="affinities">[rows, experts]; what is not finite counts as the lowest finite one.</param>
    /// <param name="numExperts">Experts.</param>
    /// <param name="isPadding">Rows that get no expert; empty for none.</param>
    /// <param name="expertIds">= expert of each row, -1 for padding, [rows].</param>
    /// <returns>The sum of the chosen affinities.</returns>
    public double Solve(ReadOnlySpan<float> affinities, int numExperts, ReadOnlySpan<bool> isPadding, Span<int> expertIds)
    {
        Begin(affinities, numExperts, isPadding, expertIds.Length);
        expertIds.Fill(-1);
        if (_numTokens == 0)
        {
            return 0;
        }

        if (numExperts > 1)
        {
            Sell(RoundAffinities(affinities));
        }

        double sum = 0;
        for (int token = 0; token < _numTokens; token++)
        {
            int expert = numExperts > 1 ? _places.KindOf(token) % numExperts : 0;
            expertIds[_rows[token]] = expert;
            sum += affinities[(_rows[token] * numExperts) + expert];
        }

        return sum;
    }

    private void Begin(ReadOnlySpan<float> affinities, int numExperts, ReadOnlySpan<bool> isPadding, int rows)
    {
        if (affinities.Length != (long)rows * numExperts)
        {
            ShapeException.Throw(nameof(BalancedAuction), nameof(affinities), $"[{rows}, {numExperts}]", $"[{affinities.Length}]");
        }

        Array.Resize(ref _rows, Math.Max(_rows.Length, rows));
        (_numTokens, _numExperts) = (0, numExperts);
        for (int row = 0; row < rows; row++)
        {
            if (isPadding.Length == 0 || !isPadding[row])
            {
                _rows[_numTokens++] = row;
            }
        }

        (int fewest, int left) = (_numTokens / numExperts, _numTokens % numExperts);
        _hasSpare = left > 0;
        _numBidders = _hasSpare ? numExperts * (fewest + 1) : _numTokens;
        _places.Reset(numExperts, fewest, _hasSpare, _numBidders);
        Array.Resize(ref _queue, Math.Max(_queue.Length, _numBidders));
        Array.Resize(ref _prices, Math.Max(_prices.Length, 2 * numExperts));
        Array.Resize(ref _values, Math.Max(_values.Length, checked(_numTokens * numExperts)));
    }

    // Whole numbers, times the bidders and one: an increment of 1 is then below one unit divided by the bidders. Returns their range.
    private long RoundAffinities(ReadOnlySpan<float> affinities)
    {
        (float lowest, float largest) = (float.PositiveInfinity, 0f);
        foreach (int row in _rows.AsSpan(0, _numTokens))
        {
            foreach (float affinity in affinities.Slice(row * _numExperts, _numExperts))
            {
                if (float.IsFinite(affinity))
                {
                    (lowest, largest) = (Math.Min(lowest, affinity), Math.Max(largest, Math.Abs(affinity)));
                }
            }
        }

        lowest = float.IsFinite(lowest) ? lowest : 0f;
        double unit = largest > 0 ? Math.ScaleB(1, Bits - 1 - Math.ILogB(largest)) : 1;
        (long least, long most) = (long.MaxValue, long.MinValue);
        for (int token = 0; token < _numTokens; token++)
        {
            ReadOnlySpan<float> row = affinities.Slice(_rows[token] * _numExperts, _numExperts);
            for (int expert = 0; expert < row.Length; expert++)
            {
                float affinity = float.IsFinite(row[expert]) ? row[expert] : lowest;
                long value = (long)Math.Round(affinity * unit) * (_numBidders + 1);
                _values[(token * _numExperts) + expert] = value;
                (least, most) = (Math.Min(least, value), Math.Max(most, value));
            }
        }

        return most - least;
    }

    private void Sell(long range)
    {
        Array.Clear(_prices);
        long increment = Math.Max(1, range / FirstShare);
        while (true)
        {
            SellOnce(increment);
            if (increment == 1)
            {
                return;
            }

            increment = Math.Max(1, increment / Refinement);
        }
    }

    // Prices stay from the coarser auction before, all places are free again.
    private void SellOnce(long increment)
    {
        _places.Clear();
        Span<int> queue = _queue.AsSpan(0, _numBidders);
        for (int bidder = 0; bidder < queue.Length; bidder++)
        {
            queue[bidder] = bidder;
        }

        (int head, int waiting) = (0, queue.Length);
        while (waiting > 0)
        {
            int bidder = queue[head];
            head = head + 1 == queue.Length ? 0 : head + 1;
            waiting--;
            Offer offer = Best(bidder);
            int outbid = _places.Sell(offer.Kind, bidder, _prices[offer.Kind] + offer.Lead + increment, ref _prices[offer.Kind]);
            if (outbid >= 0)
            {
                int tail = head + waiting;
                queue[tail < queue.Length ? tail : tail - queue.Length] = outbid;
                waiting++;
            }
        }
    }

    // The kind of place that is worth most at its price, the lowest of equals, and by how much it leads the next.
    private Offer Best(int bidder)
    {
        int experts = _numExperts;
        bool hasToken = bidder < _numTokens;
        ReadOnlySpan<long> values = hasToken ? _values.AsSpan(bidder * experts, experts) : [];
        ReadOnlySpan<long> prices = _prices;
        (long best, long second, int kind) = (long.MinValue, long.MinValue, -1);
        if (hasToken && _places.PlacesPerExpert > 0)
        {
            for (int expert = 0; expert < values.Length; expert++)
            {
                long value = values[expert] - prices[expert];
                if (value > second)
                {
                    (best, second, kind) = value > best ? (value, best, expert) : (best, value, kind);
                }
            }
        }

        if (_hasSpare)
        {
            for (int expert = 0; expert < experts; expert++)
            {
                long value = (hasToken ? values[expert] : 0) - prices[experts + expert];
                if (value > second)
                {
                    (best, second, kind) = value > best ? (value, best, experts + expert) : (best, value, kind);
                }
            }
        }

        return new Offer(kind, best - second);
    }

    private readonly record struct Offer(int Kind, long Lead);
}
