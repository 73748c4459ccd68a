using System.Diagnostics;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Tests.Tokenization.Chat;

/// <summary>Templates made to take memory, time or the call stack end soon, with one message.</summary>
public class HostileTemplateTests
{
    // Far above what any of these takes (under 1 s), far below a hang.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% set ns = namespace(t='aaaaaaaaaaaaaaaa') %}{% for i in range(1000) %}{% set ns.t = ns.t + ns.t %}{% endfor %}")]
    [InlineData("{% set ns = namespace(t=[1]) %}{% for i in range(1000) %}{% set ns.t = ns.t + ns.t %}{% endfor %}")]
    [InlineData("{{ 'aaaaaaaaaaaaaaaa' * 9000000000000000000 }}")]
    [InlineData("{{ [1] * 9000000000000000000 }}")]
    [InlineData("{% set t = 'a' * 20000000 %}{{ t.replace('a', t) }}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{{ t in t }}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{{ ('a' * 5000000 + 'b') in t }}")]
    [InlineData("{% set t = 'a' * 100000 %}{% for i in range(100000) %}{{ t | upper | length }}{% endfor %}")]
    [InlineData("{{ range(100000) | map('string') | join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' * 100) }}")]
    [InlineData("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}")]
    [InlineData("{% set ns = namespace(t=[]) %}{% for i in range(100000) %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.t }}")]
    [InlineData("{% set ns = namespace(t=[]) %}{% for i in range(100000) %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.t | tojson }}")]
    [InlineData("{% set ns = namespace(t=[]) %}{% for i in range(100000) %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.t == ns.t }}")]
    [InlineData("{{ range(100000) | unique | list }}")]
    [InlineData("{% set t = 'a ' * 4000000 %}{% for i in range(100000) %}{{ t.split() | length }}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{{ range(100000) | tojson(separators=(t, ':')) }}")]
    [InlineData("{% set t = 'a' * 10000000 %}{{ ([{'k': 1}] * 100000) | tojson(separators=(',', t)) }}")]
    [InlineData("{% set t = 'a' * 10000000 %}{{ range(100000) | tojson(indent=t) }}")]
    [InlineData("{% set ns = namespace(t=1) %}{% for i in range(300) %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.t | tojson(indent='a' * 10000000) }}")]
    [InlineData("{% set m = {'a' * 10000000: 1} %}{{ ([m] * 100000) | tojson }}")]
    [InlineData("{% set m = {'a' * 10000000: 1, 'b': 2} %}{{ ([m] * 100000) | tojson(sort_keys=true) }}")]
    [InlineData("{% set ns = namespace(m={}) %}{% for i in range(1500) %}{% set ns.m = dict(ns.m, **{i | string: i}) %}{% endfor %}{% for i in range(100000) %}{% set x = ns.m | items %}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{{ {'k': 1}[t] }}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{{ {'k': 1}.get(t) }}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{{ t in {'k': 1} }}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{% set m = {t: 1} %}{% endfor %}")]
    [InlineData("{% set m = {'a' * 10000000: 1} %}{% for i in range(100000) %}{{ m == m }}{% endfor %}")]
    [InlineData("{% set m = {'a' * 10000000: 1} %}{% for i in range(100000) %}{% set n = dict(m) %}{% endfor %}")]
    [InlineData("{% set m = {'a' * 10000000: 1} %}{% for i in range(100000) %}{% set n = dict(**m) %}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{{ ([{'k': 1}] * 100000) | selectattr(t) | list }}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{{ t is filter }}{% endfor %}")]
    [InlineData("{% set t = 'a' * 10000000 %}{% for i in range(100000) %}{{ t is test }}{% endfor %}")]
    [InlineData("{% set t = '\\n' * 10000000 %}{% for i in range(100000) %}{{ t.splitlines() | length }}{% endfor %}")]
    [InlineData("{% set t = '1' * 10000000 %}{% for i in range(100000) %}{{ t | int(0, 1000) }}{% endfor %}")]
    public void Rendering_stops(string template)
    {
        Stopwatch watch = Stopwatch.StartNew();

        string message = Assert.Throws<FileFormatException>(() => ChatTemplateTests.Render(template)).Message;

        Assert.StartsWith("test: line 1: the chat template ", message, StringComparison.Ordinal);
        Assert.True(watch.Elapsed < Limit, $"took {watch.Elapsed}");
    }

    [Theory]
    [InlineData("{% set t = 'a ' * 1000000 %}{{ t.split(none, 500000) | length }}", "500001")]
    [InlineData("{% set t = 'a ' * 1000000 %}{{ t.rsplit(none, 500000) | length }}", "500001")]
    public void Splitting_a_long_text_at_blanks_takes_time_in_proportion(string template, string expected)
    {
        Stopwatch watch = Stopwatch.StartNew();

        Assert.Equal(expected, ChatTemplateTests.Render(template));
        Assert.True(watch.Elapsed < Limit, $"took {watch.Elapsed}");
    }

    [Theory]
    [InlineData("(")]
    [InlineData("[")]
    [InlineData("{1:")]
    [InlineData("-")]
    [InlineData("not ")]
    [InlineData("a if ")]
    [InlineData("f(")]
    [InlineData("a[")]
    [InlineData("a|replace(")]
    [InlineData("a is eq(")]
    public void Nesting_without_end_is_refused(string opening)
    {
        string template = "{{ " + string.Concat(Enumerable.Repeat(opening, 100_000));

        // The end of the tag is found missing first; with an end the depth is.
        Assert.Throws<FileFormatException>(() => ChatTemplate.Parse(template, "test"));
        Assert.Throws<FileFormatException>(() => ChatTemplate.Parse(template + " }}", "test"));
    }

    [Theory]
    [InlineData("{% if a %}", "{% endif %}")]
    [InlineData("{% for a in b %}", "{% endfor %}")]
    [InlineData("{% macro m() %}", "{% endmacro %}")]
    public void Tags_nested_without_end_are_refused(string open, string close)
    {
        string template = string.Concat(Enumerable.Repeat(open, 20_000)) + string.Concat(Enumerable.Repeat(close, 20_000));

        Assert.Contains("nests deeper", Assert.Throws<FileFormatException>(() => ChatTemplate.Parse(template, "test")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a", ".a")]
    [InlineData("a", "[0]")]
    [InlineData("1", " + 1")]
    [InlineData("a", " or a")]
    [InlineData("a", " | list")]
    [InlineData("a", " if a else a")]
    public void Chains_without_end_are_refused(string first, string link)
    {
        string template = "{{ " + first + string.Concat(Enumerable.Repeat(link, 50_000)) + " }}";

        Assert.Throws<FileFormatException>(() => ChatTemplateTests.Render(template));
    }

    [Fact]
    public void A_template_beyond_all_size_is_refused()
    {
        Assert.Contains("longer than", Assert.Throws<FileFormatException>(() => ChatTemplate.Parse(new string(' ', (1 << 20) + 1), "test")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void No_damage_to_a_template_escapes_as_another_error()
    {
        const string Whole = "{% set ns = namespace(a=[1, 'x'], b={'k': 2.5}) %}{% macro m(p, q='d') -%}{{ p ~ q }}{%- endmacro %}\n"
            + "{% for m2 in messages if m2.role is string %}{% if loop.first and m2['content'][:2] in 'Hi' %}{{ m(m2.content | upper | trim, q=1 + 2) }}"
            + "{% elif not ns.b.k > 3 %}{% set ns.a = ns.a + [loop.index0] %}{% else %}{{ ns.a | tojson }}{% endif %}{% endfor %}{{ 'a,b'.split(',')[-1] }}{# end #}";
        Random random = new(31);
        for (int round = 0; round < 5_000; round++)
        {
            char[] damaged = Whole.ToCharArray();
            for (int count = random.Next(1, 4); count > 0; count--)
            {
                damaged[random.Next(damaged.Length)] = random.Next(2) == 0 ? Whole[random.Next(Whole.Length)] : (char)random.Next(128);
            }

            try
            {
                ChatTemplateTests.Render(new string(damaged));
            }
            catch (MoeSharpException)
            {
                // The errors allowed.
            }
        }
    }

    [Fact]
    public void Long_conversations_are_not_taken_for_hostile()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}", "test");
        ChatMessage[] messages = [.. Enumerable.Range(0, 20_000).Select(index => new ChatMessage(index % 2 == 0 ? "user" : "assistant", new string('x', 500)))];

        Assert.Equal(20_000L * (500 + 12 + 1 + 10 + 1) + (10_000 * (4 + 9)), template.Render(new ChatTemplateInput { Messages = messages }).Length);
    }
}
