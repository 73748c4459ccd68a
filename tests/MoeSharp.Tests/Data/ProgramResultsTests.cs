using System.Text.RegularExpressions;
using MoeSharp.Data;

namespace MoeSharp.Tests.Data;

/// <summary>Runs the corpus's programs with interpreters of their own and compares what they print with what the comments claim.</summary>
public sealed class ProgramResultsTests
{
    private static readonly List<string> Programs = SyntheticCorpus.Generate(3, 600_000).Where(document => document.Domain == "program").Select(document => document.Text).ToList();

    [Fact]
    public void Python_results_are_right()
    {
        int results = 0;
        foreach (string program in Programs.Where(text => text.StartsWith("# py\n", StringComparison.Ordinal)))
        {
            results += RunPython(program.Split('\n'));
        }

        Assert.True(results > 200);
    }

    [Fact]
    public void Stack_results_are_right()
    {
        int results = 0;
        foreach (string line in Programs.Where(text => text.StartsWith("\\ stack\n", StringComparison.Ordinal)).SelectMany(text => text.Split('\n').Skip(1)).Where(line => line.Length > 0))
        {
            Stack<int> stack = [];
            string[] parts = line.Split("  \\ ");
            foreach (string word in parts[0].Split(' '))
            {
                switch (word)
                {
                    case "dup":
                        stack.Push(stack.Peek());
                        break;
                    case ".":
                        Assert.Equal(int.Parse(parts[1]), stack.Pop());
                        results++;
                        break;
                    case "+" or "-" or "*":
                        int right = stack.Pop();
                        int left = stack.Pop();
                        stack.Push(word == "+" ? left + right : word == "-" ? left - right : left * right);
                        break;
                    default:
                        stack.Push(int.Parse(word));
                        break;
                }
            }

            Assert.Empty(stack);
        }

        Assert.True(results > 200);
    }

    [Fact]
    public void Lisp_results_are_right()
    {
        int results = 0;
        foreach (string line in Programs.Where(text => text.StartsWith(";; lisp\n", StringComparison.Ordinal)).SelectMany(text => text.Split('\n').Skip(1)).Where(line => line.Length > 0))
        {
            string[] parts = line.Split(" ; ");
            Queue<string> tokens = new(Regex.Matches(parts[0], @"[()]|[^\s()]+").Select(match => match.Value));
            Assert.Equal(int.Parse(parts[1]), RunLisp(tokens, []));
            Assert.Empty(tokens);
            results++;
        }

        Assert.True(results > 200);
    }

    [Fact]
    public void Register_results_are_right()
    {
        int results = 0;
        foreach (string program in Programs.Where(text => text.StartsWith("; reg\n", StringComparison.Ordinal)))
        {
            Dictionary<string, int> registers = new() { ["r0"] = 0, ["r1"] = 0, ["r2"] = 0, ["r3"] = 0 };
            foreach (string[] words in program.Split('\n').Skip(1).Where(line => line.Length > 0).Select(line => line.Split(' ')))
            {
                int operand = words[0] == "out" ? 0 : registers.TryGetValue(words[2], out int value) ? value : int.Parse(words[2]);
                switch (words[0])
                {
                    case "out":
                        Assert.Equal(int.Parse(words[3]), registers[words[1]]);
                        results++;
                        break;
                    case "set" or "mov":
                        registers[words[1]] = operand;
                        break;
                    default:
                        registers[words[1]] = words[0] switch { "add" => registers[words[1]] + operand, "sub" => registers[words[1]] - operand, _ => registers[words[1]] * operand };
                        break;
                }
            }
        }

        Assert.True(results > 100);
    }

    private static int RunPython(string[] lines)
    {
        Dictionary<string, int> variables = [];
        (int X, char Sign, int Y) function = default;
        int results = 0;
        for (int at = 0; at < lines.Length; at++)
        {
            string line = lines[at];
            if (Regex.Match(line, @"^    return x \* (\d+) ([-+]) y \* (\d+)$") is { Success: true } body)
            {
                function = (int.Parse(body.Groups[1].Value), body.Groups[2].Value[0], int.Parse(body.Groups[3].Value));
            }
            else if (Regex.Match(line, @"^(\w+) = \w+\((\w+), (\d+)\)$") is { Success: true } call)
            {
                int x = Value(call.Groups[2].Value, variables);
                int y = int.Parse(call.Groups[3].Value) * function.Y;
                variables[call.Groups[1].Value] = (x * function.X) + (function.Sign == '-' ? -y : y);
            }
            else if (Regex.Match(line, @"^(\w+) = (\d+)$") is { Success: true } assignment)
            {
                variables[assignment.Groups[1].Value] = int.Parse(assignment.Groups[2].Value);
            }
            else if (Regex.Match(line, @"^for i in range\((\d+), (\d+)\):$") is { Success: true } loop)
            {
                bool isFiltered = lines[at + 1] == "    if i % 2 == 0:";
                Match sum = Regex.Match(lines[at + (isFiltered ? 2 : 1)], @"^ +(\w+) \+= i \* (\d+)$");
                Assert.True(sum.Success);
                for (int i = int.Parse(loop.Groups[1].Value); i < int.Parse(loop.Groups[2].Value); i++)
                {
                    variables[sum.Groups[1].Value] += isFiltered && i % 2 == 1 ? 0 : i * int.Parse(sum.Groups[2].Value);
                }
            }
            else if (Regex.Match(line, @"^print\((\w+)\)  # (-?\d+)$") is { Success: true } print)
            {
                Assert.Equal(int.Parse(print.Groups[2].Value), variables[print.Groups[1].Value]);
                results++;
            }
        }

        return results;
    }

    private static int Value(string operand, Dictionary<string, int> variables) => variables.TryGetValue(operand, out int value) ? value : int.Parse(operand);

    private static int RunLisp(Queue<string> tokens, Dictionary<string, int> variables)
    {
        string token = tokens.Dequeue();
        if (token != "(")
        {
            return Value(token, variables);
        }

        string operation = tokens.Dequeue();
        if (operation == "let")
        {
            Assert.Equal("(", tokens.Dequeue());
            Assert.Equal("(", tokens.Dequeue());
            variables[tokens.Dequeue()] = RunLisp(tokens, variables);
            Assert.Equal(")", tokens.Dequeue());
            Assert.Equal(")", tokens.Dequeue());
            int value = RunLisp(tokens, variables);
            Assert.Equal(")", tokens.Dequeue());
            return value;
        }

        int left = RunLisp(tokens, variables);
        int right = RunLisp(tokens, variables);
        Assert.Equal(")", tokens.Dequeue());
        return operation switch { "+" => left + right, "-" => left - right, "*" => left * right, "max" => Math.Max(left, right), _ => throw new InvalidOperationException(operation) };
    }
}
