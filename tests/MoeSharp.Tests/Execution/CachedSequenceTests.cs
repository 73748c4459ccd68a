using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Tests.Execution;

public sealed class CachedSequenceTests
{
    private const int PageTokens = KeyValuePages.PageTokens;

    private static readonly CacheLayout Layout = new([LayerCache.Heads(2, 4, 4), LayerCache.Latent(20, 12)]);

    [Fact]
    public void A_page_holds_every_layer_in_whole_cache_lines()
    {
        Assert.Equal((2 * 4 * 64) + (2 * 64 * 16) + (64 * 32), Layout.PageLength);
        Assert.Equal(Layout.Heads(0).Length, Layout.Heads(1).Offset);
        Assert.False(Layout.HasStates);
        Assert.Equal(Layout.PageBytes / 2, new CacheLayout([LayerCache.Heads(2, 4, 4), LayerCache.Latent(20, 12)], CacheFormat.BFloat16).PageBytes);
    }

    [Fact]
    public void Pages_come_when_needed_and_go_back()
    {
        using KeyValuePages pages = new(Layout, 3 * Layout.PageBytes);
        Assert.Equal(0, pages.HeldBytes);
        using (CachedSequence sequence = new(pages))
        {
            Append(sequence, PageTokens);
            Assert.Equal(1, pages.UsedPages);
            Append(sequence, 1);
            Assert.Equal(2, pages.UsedPages);
            sequence.Truncate(PageTokens);
            Assert.Equal(1, pages.UsedPages);
            Assert.Equal(PageTokens, sequence.Tokens.Length);
        }

        Assert.Equal(0, pages.UsedPages);
        Assert.Equal(2 * Layout.PageBytes, pages.HeldBytes);
    }

    [Fact]
    public void A_full_pool_says_no_and_leaves_everything_as_it_was()
    {
        using KeyValuePages pages = new(Layout, 2 * Layout.PageBytes);
        using CachedSequence first = new(pages), second = new(pages);
        Append(first, 10);
        Assert.False(second.TryReserve(PageTokens + 1));
        Assert.Equal(1, pages.UsedPages);
        Assert.Throws<ConfigurationException>(() => second.Reserve(PageTokens + 1));
        Assert.True(second.TryReserve(PageTokens));
    }

    [Fact]
    public void A_fork_shares_pages_until_one_of_the_two_writes()
    {
        using KeyValuePages pages = new(Layout, 100 * Layout.PageBytes);
        using CachedSequence sequence = new(pages);
        Append(sequence, PageTokens + 5);
        using CachedSequence fork = sequence.Fork();
        Assert.Equal(2, pages.UsedPages);
        Assert.Equal(sequence.Tokens.ToArray(), fork.Tokens.ToArray());
        Append(fork, 1);
        Assert.Equal(3, pages.UsedPages); // the half page was copied, the full one is still shared
        Append(sequence, 1);
        Assert.Equal(3, pages.UsedPages);
    }

    [Fact]
    public void States_are_copied_by_a_fork_and_have_no_way_back()
    {
        using KeyValuePages pages = new(new CacheLayout([LayerCache.State(3), LayerCache.Heads(1, 2, 2), LayerCache.State(2)]), 1 << 20);
        using CachedSequence sequence = new(pages);
        Assert.Equal([0f, 0f], sequence.State(2).ToArray());
        sequence.Reserve(1);
        sequence.NextState(0).Fill(5f);
        sequence.NextState(2).Fill(7f);
        Assert.Equal([0f, 0f], sequence.State(2).ToArray()); // not before the pass is over
        sequence.Advance([1]);
        Assert.Equal([7f, 7f], sequence.State(2).ToArray());
        using CachedSequence fork = sequence.Fork();
        Assert.Equal([5f, 5f, 5f], fork.State(0).ToArray());
        Assert.Throws<InvalidOperationException>(() => sequence.Truncate(0));
    }

    [Fact]
    public void States_take_the_room_of_pages()
    {
        CacheLayout layout = new([LayerCache.State(1000), LayerCache.Heads(1, 8, 16)]); // 8000 bytes of states, 6144 of a page
        Assert.Equal((8000L, 2), (layout.StateBytes, layout.StatePages));
        using KeyValuePages pages = new(layout, 6 * layout.PageBytes);
        Assert.Equal(4 * PageTokens, pages.MostTokens);
        using (CachedSequence first = new(pages))
        {
            Assert.Equal((4, 8000L), (pages.AvailablePages, pages.HeldBytes));
            Append(first, 4 * PageTokens);
            Assert.Throws<ConfigurationException>(() => new CachedSequence(pages));
        }

        Assert.Equal((6, 4 * layout.PageBytes), (pages.AvailablePages, pages.HeldBytes));
        using CachedSequence second = new(pages), third = new(pages); // the memory of two pages makes way
        Assert.Equal((2, (2 * layout.PageBytes) + 16000), (pages.AvailablePages, pages.HeldBytes));
        Append(second, 2 * PageTokens);
        Assert.False(third.TryReserve(1));
    }

    [Fact]
    public void A_pool_that_is_asked_for_less_has_room_for_one_page_and_its_states()
    {
        CacheLayout layout = new([LayerCache.State(1000), LayerCache.Heads(1, 8, 16)]);
        using KeyValuePages pages = new(layout, 1);
        using CachedSequence sequence = new(pages);
        Assert.True(sequence.TryReserve(PageTokens));
        using KeyValuePages stateOnly = new(new CacheLayout([LayerCache.State(1000)]), 1);
        using CachedSequence other = new(stateOnly);
        Assert.True(other.TryReserve(PageTokens));
    }

    [Fact]
    public void A_sequence_begins_with_the_pages_of_one_that_begins_alike()
    {
        using KeyValuePages pages = new(Layout, 100 * Layout.PageBytes);
        int[] tokens = [.. Enumerable.Range(0, (2 * PageTokens) + 20)];
        using CachedSequence first = new(pages);
        Append(first, tokens);
        using CachedSequence same = new(pages), shorter = new(pages), other = new(pages);
        Assert.Equal(2 * PageTokens, same.Adopt(tokens)); // the third page is not full, and still being written
        Assert.Equal(3, pages.UsedPages);
        Assert.Equal((PageTokens * 2) - 1, shorter.Adopt(tokens[..(2 * PageTokens)])); // the last token is wanted itself
        Assert.Equal(3, pages.UsedPages);
        Assert.Equal(0, other.Adopt([5, .. tokens]));
        Append(shorter, [1]); // copies the page that it shares in part
        Assert.Equal(4, pages.UsedPages);
        Assert.Equal([.. tokens[..((2 * PageTokens) - 1)], 1], shorter.Tokens.ToArray());
    }

    [Fact]
    public void Sequences_that_become_alike_share_from_then_on()
    {
        using KeyValuePages pages = new(Layout, 100 * Layout.PageBytes);
        using CachedSequence first = new(pages), second = new(pages);
        int[] tokens = [.. Enumerable.Range(0, 3 * PageTokens)];
        foreach (int token in tokens)
        {
            Append(first, [token]);
            Append(second, [token]);
        }

        Assert.Equal(3, pages.UsedPages);
    }

    [Fact]
    public void The_half_page_of_an_ended_sequence_is_continued_in_place()
    {
        using KeyValuePages pages = new(Layout, 100 * Layout.PageBytes);
        int[] tokens = [.. Enumerable.Range(0, PageTokens + 10)];
        using (CachedSequence first = new(pages))
        {
            Append(first, tokens);
        }

        Assert.Equal((0, 2), (pages.UsedPages, pages.RememberedPages));
        using CachedSequence next = new(pages);
        Assert.Equal(tokens.Length, next.Adopt([.. tokens, 1, 2]));
        Append(next, [1]);
        Assert.Equal((2, 0), (pages.UsedPages, pages.RememberedPages));
        Assert.Equal(2 * Layout.PageBytes, pages.HeldBytes); // nothing was copied
    }

    [Fact]
    public void Remembered_pages_give_way_oldest_first_and_from_the_end()
    {
        using KeyValuePages pages = new(Layout, 4 * Layout.PageBytes);
        int[] old = [.. Enumerable.Range(0, 2 * PageTokens)], recent = [.. Enumerable.Range(1000, 2 * PageTokens)];
        foreach (int[] tokens in (int[][])[old, recent])
        {
            using CachedSequence sequence = new(pages);
            Append(sequence, tokens);
        }

        using CachedSequence writer = new(pages);
        Append(writer, [1]); // takes the place of the second page of the old text
        Assert.Equal((1, 3), (pages.UsedPages, pages.RememberedPages));
        Assert.Equal(PageTokens, Adopted(pages, [.. old, 1]));
        Assert.Equal(2 * PageTokens, Adopted(pages, [.. recent, 1]));
    }

    [Fact]
    public void Tokens_decide_not_hashes()
    {
        PrefixIndex index = new();
        KeyValuePage page = new(16, false);
        int[] tokens = [.. Enumerable.Range(0, PageTokens)];
        Assert.True(index.TryAdd(null, page, tokens));
        Assert.Same(page, index.Find(null, tokens));
        page.Tokens[5] = 99; // as if another text had the same hash
        Assert.Null(index.Find(null, tokens));
        Assert.False(index.TryAdd(null, new KeyValuePage(16, false), tokens));
    }

    [Fact]
    public void Random_forks_adoptions_and_ends_never_lose_a_page_or_mix_up_tokens()
    {
        Random random = new(7);
        using KeyValuePages pages = new(Layout, 40 * Layout.PageBytes);
        List<CachedSequence> sequences = [];
        for (int step = 0; step < 20_000; step++)
        {
            int kind = sequences.Count == 0 ? 0 : sequences.Count > 12 ? 2 : random.Next(8);
            CachedSequence any = sequences.Count == 0 ? null! : sequences[random.Next(sequences.Count)];
            int[] added = [.. Enumerable.Range(0, random.Next(1, 90)).Select(_ => random.Next(2))]; // of two tokens: much is alike
            if (kind == 0)
            {
                CachedSequence sequence = new(pages);
                int[] wanted = step % 2 == 0 || sequences.Count == 0 ? added : [.. any.Tokens[..random.Next(any.Length + 1)], .. added];
                int adopted = sequence.Adopt(wanted);
                Assert.Equal(wanted[..adopted], sequence.Tokens.ToArray());
                sequences.Add(sequence);
            }
            else if (kind == 1)
            {
                sequences.Add(any.Fork());
            }
            else if (kind == 2)
            {
                sequences.Remove(any);
                any.Dispose();
            }
            else if (kind == 3)
            {
                any.Truncate(random.Next(any.Length + 1));
            }
            else if (any.TryReserve(added.Length))
            {
                int[] expected = [.. any.Tokens, .. added];
                any.Advance(added);
                Assert.Equal(expected, any.Tokens.ToArray());
            }

            Assert.InRange(pages.UsedPages + pages.RememberedPages, 0, pages.MaxPages);
        }

        sequences.ForEach(sequence => sequence.Dispose());
        Assert.Equal(0, pages.UsedPages);
    }

    private static int Adopted(KeyValuePages pages, int[] tokens)
    {
        using CachedSequence sequence = new(pages);
        return sequence.Adopt(tokens);
    }

    private static void Append(CachedSequence sequence, int[] tokens)
    {
        sequence.Reserve(tokens.Length);
        sequence.Advance(tokens);
    }

    private static void Append(CachedSequence sequence, int count)
    {
        sequence.Reserve(count);
        sequence.Advance([.. Enumerable.Range(sequence.Length, count)]);
    }
}
