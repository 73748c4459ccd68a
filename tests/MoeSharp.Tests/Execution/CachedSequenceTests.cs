using MoeSharp.Execution;

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

    private static void Append(CachedSequence sequence, int count)
    {
        sequence.Reserve(count);
        sequence.Advance([.. Enumerable.Range(sequence.Length, count)]);
    }
}
