using FsCheck;
using FsCheck.Fluent;
using MoeSharp.Inference;

namespace MoeSharp.Tests.Inference;

public sealed class StopStringFilterTests
{
    [Fact]
    public void A_stop_string_spread_over_pieces_is_not_emitted_in_part()
    {
        StopStringFilter filter = new(["END"]);
        Assert.Equal("a", filter.Push("aE"));
        Assert.Equal("", filter.Push("N"));
        Assert.Equal("", filter.Push("Db"));
        Assert.True(filter.IsStopped);
        Assert.Equal("", filter.Push("more"));
        Assert.Equal("", filter.Flush());
    }

    [Fact]
    public void What_only_began_like_a_stop_string_comes_out_later()
    {
        StopStringFilter filter = new(["END"]);
        Assert.Equal("", filter.Push("EN"));
        Assert.Equal("EN", filter.Push("EN"));
        Assert.Equal("ENX", filter.Push("X"));
        Assert.False(filter.IsStopped);
    }

    [Fact]
    public void The_end_of_the_stream_releases_what_was_held_back()
    {
        StopStringFilter filter = new(["\n\n"]);
        Assert.Equal("line", filter.Push("line\n"));
        Assert.Equal("\n", filter.Flush());
    }

    [Fact]
    public void The_earliest_of_several_stop_strings_wins()
    {
        StopStringFilter filter = new(["zz", "b"]);
        Assert.Equal("a", filter.Push("abzz"));
    }

    [Fact]
    public void An_empty_stop_string_is_an_error()
    {
        Assert.Throws<ConfigurationException>(() => new StopStringFilter(["x", ""]));
    }

    [Fact]
    public void Any_cut_of_a_text_gives_the_text_before_the_first_stop_string()
    {
        Gen<string> text = Gen.Elements('a', 'b', 'c').ArrayOf().Select(letters => new string(letters));
        Gen<(string[] Pieces, string[] Stops)> cases =
            from pieces in text.ArrayOf()
            from stops in text.Where(stop => stop.Length > 0).ArrayOf()
            select (pieces, stops);

        Prop.ForAll(cases.ToArbitrary(), test =>
        {
            StopStringFilter filter = new(test.Stops);
            string emitted = string.Concat(test.Pieces.Select(filter.Push)) + filter.Flush();
            string whole = string.Concat(test.Pieces);
            int end = test.Stops.Select(stop => whole.IndexOf(stop, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(-1).Min();
            return filter.IsStopped == (end >= 0) && emitted == EarliestByPiece(test.Pieces, test.Stops);
        }).QuickCheckThrowOnFailure();
    }

    /// <summary>The plain definition: after each piece, look for stop strings in everything so far.</summary>
    private static string EarliestByPiece(string[] pieces, string[] stops)
    {
        string sofar = "";
        foreach (string piece in pieces)
        {
            sofar += piece;
            int end = stops.Select(stop => sofar.IndexOf(stop, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(-1).Min();
            if (end >= 0)
            {
                return sofar[..end];
            }
        }

        return sofar;
    }
}
