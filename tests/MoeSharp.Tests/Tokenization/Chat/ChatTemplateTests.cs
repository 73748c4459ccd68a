using System.Text.Json;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Tests.Tokenization.Chat;

/// <summary>The language of chat templates, rule by rule. Expected texts follow Jinja2 with trim_blocks and lstrip_blocks.</summary>
public class ChatTemplateTests
{
    [Theory]
    [InlineData("a\n", "a")]
    [InlineData("a\n\n", "a\n")]
    [InlineData("a\r\nb\rc", "a\nb\nc")]
    [InlineData("{% if true %}\na\n{% endif %}\nb", "a\nb")]
    [InlineData("x\n   {% if true %}\n  a\n   {% endif %}\nb", "x\n  a\nb")]
    [InlineData("x {% if true %}y{% endif %} z", "x y z")]
    [InlineData("  {{ 1 }}\n  {{ 2 }}", "  1\n  2")]
    [InlineData("a  {{- 1 -}}  \n b", "a1b")]
    [InlineData("a\n  {%- if true -%}\n b \n{%- endif -%}\n c", "abc")]
    [InlineData("a\n  {%+ if true %}b{% endif +%}\nc", "a\n  b\nc")]
    [InlineData("a {# note #} b", "a  b")]
    [InlineData("a\n  {# note #}\nb", "a\nb")]
    [InlineData("a {#- note -#} b", "ab")]
    [InlineData("{% raw %}{{ x }}{% endraw %}", "{{ x }}")]
    [InlineData("a {%- raw -%} {% if %} {%- endraw -%} b", "a{% if %}b")]
    [InlineData("{{ '%}' }}{{ \"}}\" }}", "%}}}")]
    [InlineData("{{ {'a': {'b': 1}}['a']['b'] }}", "1")]
    public void White_space_and_tags(string template, string expected) => Assert.Equal(expected, Render(template));

    [Theory]
    [InlineData("{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }}", "7 9 3 -4 2 3.5 1024")]
    [InlineData("{{ 6 / 2 }} {{ 1.5 + 1 }} {{ 1e20 }} {{ 0.1 + 0.2 }} {{ 1e-7 }} {{ 100000.0 }}", "3.0 2.5 1e+20 0.30000000000000004 1e-07 100000.0")]
    [InlineData("{{ 'a' + 'b' ~ 1 ~ none ~ true }}", "ab1NoneTrue")]
    [InlineData("{{ 'ab' * 2 }} {{ [1] + [2] }} {{ [0] * 3 }}", "abab [1, 2] [0, 0, 0]")]
    [InlineData("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }}", "True False True True True False")]
    [InlineData("{{ 'b' in 'abc' }} {{ 'x' not in 'abc' }} {{ 1 in [1] }} {{ 'k' in {'k': 0} }}", "True True True True")]
    [InlineData("{{ not false and (false or 'x') }} {{ '' or 'default' }} {{ 'a' and '' }}|", "x default |")]
    [InlineData("{{ 'yes' if 1 > 2 else 'no' }} {{ 'only' if false }}|", "no |")]
    [InlineData("{{ [1, 'a', none, true, 1.0] }} {{ {'k': [1]} }} {{ (1,) }} {{ (1, 2) }}", "[1, 'a', None, True, 1.0] {'k': [1]} (1,) (1, 2)")]
    [InlineData("{{ [\"it's\", 'q\"', 'a\\n', '\\u00e9\\x07'] }}", "[\"it's\", 'q\"', 'a\\n', '\u00e9\\x07']")]
    [InlineData("{{ 'abcdef'[1:3] }} {{ 'abc'[-1] }} {{ 'abc'[::-1] }} {{ [1,2,3][1:] }} {{ [1,2,3][:-1] }} {{ [1,2,3,4][::2] }} {{ [1,2,3][5:] }}", "bc c cba [2, 3] [1, 2] [1, 3] []")]
    [InlineData("{{ '\U0001F600x'[1] }} {{ '\U0001F600x' | length }}", "x 2")]
    [InlineData("{{ 'a' 'b' }} {{ 1_000 }} {{ -2 | abs }}", "ab 1000 2")]
    [InlineData("{{ x }}|{{ x is defined }}|{{ x | default('d') }}|{% for i in x %}{% endfor %}", "|False|d|")]
    [InlineData("{{ none.x }}|{{ {}.x }}|{{ [1][3] }}|{{ {'a': 1}.a }}", "|||1")]
    [InlineData("{{ -0.0 }} {{ [[1, 2], 'x'].0.1 }} {{ 'ab'.replace('', '-') }} {{ 'ab'.replace('', '-', 1) }}", "-0.0 2 -a-b- -ab")]
    [InlineData("{{ {'items': 5}.items is callable }} {{ {'items': 5}['items'] }}", "True 5")]
    public void Expressions(string template, string expected) => Assert.Equal(expected, Render(template));

    [Theory]
    [InlineData("{% for i in range(3) %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.revindex0 }},{% endfor %}", "1TrueFalse2,2FalseFalse1,3FalseTrue0,")]
    [InlineData("{% for i in [1,2,3,4] if i % 2 == 0 %}{{ i }}/{{ loop.length }} {% endfor %}", "2/2 4/2 ")]
    [InlineData("{% for i in [] %}x{% else %}none{% endfor %}", "none")]
    [InlineData("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;")]
    [InlineData("{% for k in {'a': 1} %}{{ k }}{% endfor %}{% for c in 'xy' %}[{{ c }}]{% endfor %}", "a[x][y]")]
    [InlineData("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "02")]
    [InlineData("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", "21")]
    [InlineData("{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2")]
    [InlineData("{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "6")]
    [InlineData("{% set a, b = 1, 2 %}{{ b }}{{ a }}{% set t %}x{{ a }}{% endset %}{{ t }}{% set u | upper %}q{% endset %}{{ u }}", "21x1Q")]
    [InlineData("{% for i in [1,1,2] %}{{ loop.changed(i) }}{{ loop.cycle('a','b') }}{{ loop.previtem }} {% endfor %}", "Truea Falseb1 Truea1 ")]
    [InlineData("{% macro m(a, b='y') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}{{ m(b=1, a=2) }}{{ m() }}", "xy21y")]
    [InlineData("{% macro m() %}{{ x }}{% set x = 2 %}{% endmacro %}{% set x = 1 %}{{ m() }}{{ x }}", "11")]
    [InlineData("{% macro m() %}<{{ caller('q') }}>{% endmacro %}{% call(v) m() %}in{{ v }}{% endcall %}", "<inq>")]
    [InlineData("{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "321")]
    [InlineData("{% macro m(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*[1, 2], **{'c': 3}) }}{{ range(*[1, 3]) }}", "123[1, 2]")]
    [InlineData("{% filter upper %}a{{ 'b' }}{% endfilter %}{% with x = 1, y = 2 %}{{ x + y }}{% endwith %}{{ x }}", "AB3")]
    [InlineData("{% generation %}a{% endgeneration %}{% if false %}1{% elif none %}2{% elif 3 %}3{% else %}4{% endif %}", "a3")]
    public void Statements(string template, string expected) => Assert.Equal(expected, Render(template));

    [Theory]
    [InlineData("{{ '  a '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ '\\n\\na'.lstrip('\\n') }}|{{ 'a. '.rstrip('. ') }}", "a|a|a|a")]
    [InlineData("{{ 'a,b,c'.split(',') }} {{ 'a,b,c'.split(',', 1)[1] }} {{ ' a  b '.split() }} {{ 'a,b,c'.rsplit(',', 1) }}", "['a', 'b', 'c'] b,c ['a', 'b'] ['a,b', 'c']")]
    [InlineData("{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'aXa'.replace('a', 'b') }} {{ 'aaa'.replace('a', 'b', 1) }}", "True True bXb baa")]
    [InlineData("{{ 'hello world'.title() }} {{ 'ABC'.capitalize() }} {{ 'a-b'.upper() }} {{ 'abcb'.find('b') }} {{ 'abcb'.rfind('b') }} {{ 'abcb'.count('b') }}", "Hello World Abc A-B 1 3 2")]
    [InlineData("{{ ', '.join(['a', 'b']) }} {{ 'a\\nb'.splitlines() }} {{ 'ab'.removeprefix('a') }} {{ '12'.isdigit() }} {{ 'k=v'.partition('=') }}", "a, b ['a', 'b'] b True ('k', '=', 'v')")]
    [InlineData("{{ {'a': 1}.get('a') }} {{ {}.get('a') }} {{ {}.get('a', 2) }} {{ {'a': 1}.keys() | list }} {{ {'a': 1}.values() | list }}", "1 None 2 ['a'] [1]")]
    [InlineData("{{ [3,1,2] | sort }} {{ [3,1,2] | sort(reverse=true) }} {{ ['b','A'] | sort }} {{ [{'n': 2}, {'n': 1}] | sort(attribute='n') | map(attribute='n') | list }}", "[1, 2, 3] [3, 2, 1] ['A', 'b'] [1, 2]")]
    [InlineData("{{ [1,2,3] | select('odd') | list }} {{ [1,2,3] | reject('equalto', 2) | list }} {{ [{'r': 'u'}, {'r': 's'}] | selectattr('r', 'equalto', 'u') | list }}", "[1, 3] [1, 3] [{'r': 'u'}]")]
    [InlineData("{{ ['a', 'b'] | map('upper') | join('-') }} {{ [1,2] | sum }} {{ [1,3,2] | max }} {{ [1,1,2] | unique | list }} {{ [1,2] | first }}{{ [1,2] | last }}", "A-B 3 3 [1, 2] 12")]
    [InlineData("{{ {'b': 1, 'a': 2} | dictsort }} {{ {'a': 1} | items | list }} {{ [1,2,3] | batch(2) | list }} {{ 'abc' | reverse }}", "[('a', 2), ('b', 1)] [('a', 1)] [[1, 2], [3]] cba")]
    [InlineData("{{ '3.7' | int }} {{ 'x' | int(5) }} {{ '1.5' | float }} {{ 2.5 | round }} {{ 3 | string | length }} {{ [1] | string }}", "3 5 1.5 2.0 1 [1]")]
    [InlineData("{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'a' | indent(2, first=true) }}", "a\n  b\n\n  c|  a")]
    [InlineData("{{ '' | default('d') }}|{{ '' | default('d', true) }}|{{ none | default('d') }}|{{ ' x ' | trim }}|{{ '<&' | e }}", "|d|None|x|&lt;&amp;")]
    [InlineData("{{ {'a': [1, 2.0, none, true, 'q\"\\n\u00e9<']} | tojson }}", "{\"a\": [1, 2.0, null, true, \"q\\\"\\n\u00e9<\"]}")]
    [InlineData("{{ {'b': [1], 'a': {}} | tojson(indent=2) }}", "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}")]
    [InlineData("{{ {'b': 1, 'a': '\u00e9'} | tojson(sort_keys=true, separators=(',', ':'), ensure_ascii=true) }}", "{\"a\":\"\\u00e9\",\"b\":1}")]
    public void Methods_and_filters(string template, string expected) => Assert.Equal(expected, Render(template));

    // What Jinja2 3.1.6 on Python 3 writes.
    [Theory]
    [InlineData("{{ ' a  b '.split(none, 1) }} {{ ' a b  c '.split(none, 1) }} {{ 'a '.split(none, 1) }} {{ ' a b '.split(none, 5) }} {{ ' a b '.split(none, 0) }} {{ '  '.split(none, 1) }} {{ '  '.split() }}", "['a', 'b '] ['a', 'b  c '] ['a'] ['a', 'b'] ['a b '] [] []")]
    [InlineData("{{ ' a b  c '.rsplit(none, 1) }} {{ ' a b '.rsplit(none, 0) }} {{ ' a b'.rsplit(none, 1) }} {{ ' a b'.rsplit(none, 2) }} {{ ' a b c d '.rsplit(none, 2) }}", "[' a b', 'c'] [' a b'] [' a', 'b'] ['a', 'b'] [' a b', 'c', 'd']")]
    public void Splitting_at_blanks(string template, string expected) => Assert.Equal(expected, Render(template));

    // What Jinja2 3.1.6 on Python 3 writes.
    [Theory]
    [InlineData("{{ 'a\\nb\\r\\nc\\rd\\x0be\\x0cf\\x1cg\\x1dh\\x1ei\\x85j\\u2028k\\u2029l\\x1fm'.splitlines() }}", "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l\\x1fm']")]
    [InlineData("{{ 'a\\n\\nb\\n'.splitlines() }} {{ ''.splitlines() }} {{ '\\n'.splitlines() }} {{ '\\r\\r\\n\\n'.splitlines() }} {{ 'a\\r'.splitlines() }} {{ 'a\\r\\nb'.splitlines(true) }}", "['a', '', 'b'] [] [''] ['', '', ''] ['a'] ['a\\r\\n', 'b']")]
    [InlineData("{{ 'a\\nb\\x0bc\\u2028d' | indent(1) | tojson }}|{{ 'a\\r\\nb\\n' | indent(2) | tojson }}|{{ '\\n' | indent(2, true, true) | tojson }}|{{ 'a\\n\\nb' | indent(2, blank=true) | tojson }}", "\"a\\n b\\n c\\n d\"|\"a\\n  b\\n\"|\"  \\n  \"|\"a\\n  \\n  b\"")]
    [InlineData("{{ ' a\\u3000b\\x1cc\\x85d '.split() }} {{ '\\x1f a\\x1c'.strip() | tojson }} {{ '\\x1f a\\x1c' | trim | tojson }} {{ '\\x1c '.isspace() }}", "['a', 'b', 'c', 'd'] \"a\" \"a\" True")]
    public void Lines_and_blanks_are_those_of_Python(string template, string expected) => Assert.Equal(expected, Render(template));

    // What Jinja2 3.1.6 on Python 3 writes.
    [Theory]
    [InlineData("{{ ['b','A','a','B'] | min }}{{ ['b','A','a','B'] | max }} {{ ['b','A','a','B'] | min(case_sensitive=true) }}{{ ['b','A','a','B'] | max(true) }} {{ [{'n': 'b'}, {'n': 'C'}, {'n': 'c'}] | max(attribute='n') }}", "Ab Ab {'n': 'C'}")]
    [InlineData("{{ '0x1F' | int(base=16) }} {{ 'ff' | int(0, 16) }} {{ '-0b101' | int(base=2) }} {{ '0o17' | int(base=8) }} {{ '0x1f' | int(base=0) }} {{ '010' | int(base=0) }} {{ '19' | int(base=8) }}", "31 255 -5 15 31 10 19")]
    [InlineData("{{ '1_000' | int }} {{ '1__0' | int(7) }} {{ 'zz' | int(base=36) }} {{ '12' | int(base=99) }} {{ ' 7 ' | int }} {{ '+5' | int }} {{ '0x10' | int }} {{ 12.9 | int(base=2) }}", "1000 7 1295 12 7 5 0 12")]
    [InlineData("{{ '0x' | int(3, 16) }} {{ '0x_f' | int(base=16) }} {{ '_1' | int(2) }} {{ '00' | int(base=0) }} {{ '0b1' | int(base=16) }} {{ 'inf' | int(4) }} {{ '\u0661\u0662' | int }}", "3 15 2 0 177 4 12")]
    [InlineData("{{ '-9223372036854775808' | int }} {{ '9223372036854775807' | int }} {{ '' | int(1) }} {{ '-' | int(1) }} {{ [1] | int(8) }}", "-9223372036854775808 9223372036854775807 1 1 8")]
    public void Extremes_and_whole_numbers(string template, string expected) => Assert.Equal(expected, Render(template));

    [Theory]
    [InlineData("1 is number", true)]
    [InlineData("true is number", true)]
    [InlineData("true is integer", false)]
    [InlineData("1 is integer", true)]
    [InlineData("1.0 is float", true)]
    [InlineData("'a' is string", true)]
    [InlineData("'a' is iterable", true)]
    [InlineData("1 is iterable", false)]
    [InlineData("{} is mapping", true)]
    [InlineData("[] is mapping", false)]
    [InlineData("[] is sequence", true)]
    [InlineData("none is none", true)]
    [InlineData("x is none", false)]
    [InlineData("x is not defined", true)]
    [InlineData("false is false", true)]
    [InlineData("0 is false", false)]
    [InlineData("true is boolean", true)]
    [InlineData("3 is divisibleby 3", true)]
    [InlineData("3 is odd and 4 is even", true)]
    [InlineData("2 is in [1, 2]", true)]
    [InlineData("2 is eq 2", true)]
    [InlineData("2 is gt(1)", true)]
    public void Tests(string expression, bool expected) => Assert.Equal(expected ? "True" : "False", Render($"{{{{ {expression} }}}}"));

    [Theory]
    [InlineData("{{ raise_exception('Roles must alternate') }}", "line 1: Roles must alternate")]
    [InlineData("\n{{ 'a' + none }}", "line 2: '+' does not join text and none")]
    [InlineData("{{ 'a' + 1 }}", "'+' does not join text and a whole number")]
    [InlineData("{{ x.y }}", "'x' is undefined, so it has no 'y'")]
    [InlineData("{{ x + 1 }}", "'x', which is undefined,")]
    [InlineData("{{ x() }}", "cannot be called")]
    [InlineData("{{ 'a' in none }}", "cannot be looked for in none")]
    [InlineData("{% for i in none %}{% endfor %}", "none has no items")]
    [InlineData("{{ 1 / 0 }}", "division by 0")]
    [InlineData("{{ 9223372036854775807 + 1 }}", "too large")]
    [InlineData("{{ [].append(1) }}", "'append' would change a list")]
    [InlineData("{{ x | tojson }}", "cannot be written as JSON")]
    [InlineData("{{ 1 < 'a' }}", "'<' does not compare")]
    [InlineData("{{ [1, 'a'] | sort }}", "does not compare")]
    [InlineData("{% set a = {} %}{% set a.b = 1 %}", "'a' is not a namespace")]
    [InlineData("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "takes at most 1 arguments")]
    [InlineData("{{ 'a'.split(nope=1) }}", "has no argument 'nope'")]
    [InlineData("{{ strftime_now('%Q') }}", "does not know '%Q'")]
    [InlineData("{{ range(1000000) }}", "more than 100000")]
    [InlineData("{{ '99999999999999999999' | int }}", "is too large")]
    [InlineData("{{ '1e30' | int }}", "is too large")]
    [InlineData("{{ 1e30 | int }}", "is too large")]
    public void What_cannot_be_rendered_is_named_with_its_line(string template, string expected)
    {
        string message = Assert.Throws<ConfigurationException>(() => Render(template)).Message;

        Assert.StartsWith("test: line ", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{{ 1", "line 1: a tag {{ is never closed")]
    [InlineData("\n{% if x", "line 2: a tag {% is never closed")]
    [InlineData("{# x", "a comment {# is never closed")]
    [InlineData("{% raw %}x", "{% raw %} is never closed")]
    [InlineData("{% if x %}", "expected {% elif or else or endif %}, found the end")]
    [InlineData("{% endif %}", "{% endif %} is not a supported statement")]
    [InlineData("{% include 'x' %}", "needs other templates")]
    [InlineData("{{ 'a }}", "a string is never closed")]
    [InlineData("{{ a ? b }}", "the character '?' has no meaning")]
    [InlineData("{{ a b }}", "expected '}}', found 'b'")]
    [InlineData("{{ a | nope }}", "there is no filter 'nope'")]
    [InlineData("{{ a is nope }}", "there is no test 'nope'")]
    [InlineData("{{ [1 2] }}", "expected ','")]
    [InlineData("{{ 99999999999999999999 }}", "is too large")]
    [InlineData("{{ '\\uZZZZ' }}", "is not followed by the 4 digits")]
    [InlineData("{{ f(a=1, 2) }}", "follows one with a name")]
    [InlineData("{{ }}", "expected a value")]
    public void A_broken_template_is_named_with_its_line(string template, string expected)
    {
        string message = Assert.Throws<FileFormatException>(() => ChatTemplate.Parse(template, "test")).Message;

        Assert.StartsWith("test: line ", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_clock_is_given()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ strftime_now('%d %B %Y, %H:%M %b %-d %j %%') }}", "test");

        Assert.Equal("05 August 2025, 07:09 Aug 5 217 %", template.Render(new ChatTemplateInput { Messages = [], Now = new DateTimeOffset(2025, 8, 5, 7, 9, 0, TimeSpan.Zero) }));
    }

    [Fact]
    public void Messages_of_code_and_of_JSON_render_alike()
    {
        using JsonDocument arguments = JsonDocument.Parse("{\"city\": \"Oslo\"}");
        ChatMessage[] messages =
        [
            new("user", "Hi"),
            new("assistant", null) { ReasoningContent = "hm", ToolCalls = [new ChatToolCall("weather", arguments.RootElement) { Id = "c1" }] },
            new("tool", "rain") { ToolCallId = "c1", Name = "weather" },
        ];
        using JsonDocument json = JsonDocument.Parse("""
            [{"role": "user", "content": "Hi"},
             {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}]},
             {"role": "tool", "content": "rain", "tool_call_id": "c1", "name": "weather"}]
            """);
        ChatTemplate template = ChatTemplate.Parse("{{ messages | tojson }}{{ tools is none }}{{ flag }}", "test");

        Assert.Equal(
            template.Render(new ChatTemplateInput { Messages = messages }),
            template.Render(new ChatTemplateInput { Messages = ChatMessage.ListFromJson(json.RootElement, "test") }));
    }

    [Fact]
    public void Variables_of_the_caller_are_known_but_do_not_replace_the_conversation()
    {
        using JsonDocument json = JsonDocument.Parse("{\"documents\": [1], \"messages\": 7, \"enable_thinking\": false}");
        Dictionary<string, JsonElement> variables = json.RootElement.EnumerateObject().ToDictionary(property => property.Name, property => property.Value);
        ChatTemplate template = ChatTemplate.Parse("{{ documents }}{{ tools is none }}{{ messages | length }}{{ enable_thinking is defined and enable_thinking is false }}", "test");

        Assert.Equal("[1]True0True", template.Render(new ChatTemplateInput { Messages = [], Variables = variables }));
    }

    [Theory]
    [InlineData("{}", "is not a list of messages")]
    [InlineData("[7]", "message 0 is not an object")]
    [InlineData("[{\"role\": \"user\", \"content\": \"\\ud800\"}]", "message 0 holds half of a surrogate pair")]
    [InlineData("[{\"\\udc00role\": \"user\"}]", "message 0 ")]
    [InlineData("[{\"role\": \"user\"}, {\"content\": \"x\"}]", "message 1 is not an object with the text \"role\"")]
    public void What_is_no_conversation_is_refused(string json, string expected)
    {
        using JsonDocument document = JsonDocument.Parse(json);

        Assert.Contains(expected, Assert.Throws<ConfigurationException>(() => ChatMessage.ListFromJson(document.RootElement, "file")).Message, StringComparison.Ordinal);
    }

    internal static string Render(string template) => ChatTemplate.Parse(template, "test").Render(new ChatTemplateInput { Messages = [new ChatMessage("user", "Hi")] });
}
