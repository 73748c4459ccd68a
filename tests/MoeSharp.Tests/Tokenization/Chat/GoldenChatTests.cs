using System.Text.Json;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Tests.Tokenization.Chat;

/// <summary>Published templates against conversations rendered by another implementation; read in place from the folder in MOE_FIXTURES.</summary>
public class GoldenChatTests
{
    // The date that the vectors were made with.
    private static readonly DateTimeOffset Now = new(2025, 8, 5, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("deepseek-moe-and-v2")]
    [InlineData("deepseek-v3")]
    [InlineData("deepseek-v3.1")]
    [InlineData("qwen1.5-moe")]
    [InlineData("qwen3")]
    [InlineData("mixtral-instruct-v0.1")]
    [InlineData("gpt-oss")]
    public void Published_template_renders_every_conversation(string name)
    {
        using JsonDocument templates = JsonDocument.Parse(File.ReadAllBytes(Fixture("templates.json")));
        ChatTemplate template = ChatTemplate.Parse(templates.RootElement.GetProperty(name).GetString()!, name);
        using JsonDocument rendered = JsonDocument.Parse(File.ReadAllBytes(Fixture("rendered.json")));
        int count = 0;
        List<string> failures = [];
        foreach (JsonElement row in rendered.RootElement.EnumerateArray().Where(row => row.GetProperty("template").GetString() == name))
        {
            count++;
            string? expected = row.GetProperty("rendered").GetString();
            string? actual = Render(template, row, out string? error);
            if (actual != expected || (error is null) != (row.GetProperty("error").ValueKind == JsonValueKind.Null))
            {
                failures.Add($"{row.GetProperty("case")}: expected {row.GetProperty("error")} {JsonSerializer.Serialize(expected)}, got {error} {JsonSerializer.Serialize(actual)}");
            }
        }

        Assert.Equal(10, count);
        Assert.True(failures.Count == 0, string.Join('\n', failures));
    }

    [Theory]
    [InlineData("gpt-oss")]
    [InlineData("qwen3")]
    [InlineData("deepseek-v3.1")]
    public void Template_files_are_the_templates_of_the_list(string name)
    {
        using JsonDocument templates = JsonDocument.Parse(File.ReadAllBytes(Fixture("templates.json")));

        ChatTemplate template = ChatTemplate.Parse(File.ReadAllText(Fixture(name + ".jinja")), name);

        Assert.Equal(templates.RootElement.GetProperty(name).GetString(), template.Source);
    }

    private static string? Render(ChatTemplate template, JsonElement row, out string? error)
    {
        error = null;
        try
        {
            return template.Render(new ChatTemplateInput
            {
                Messages = ChatMessage.ListFromJson(row.GetProperty("messages"), "messages"),
                AddGenerationPrompt = row.GetProperty("add_generation_prompt").GetBoolean(),
                BosToken = row.GetProperty("bos_token").GetString(),
                EosToken = row.GetProperty("eos_token").GetString(),
                Now = Now,
            });
        }
        catch (ConfigurationException exception)
        {
            error = exception.Message;
            return null;
        }
    }

    private static string Fixture(string name)
    {
        string? folder = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(folder))
        {
            Assert.Skip("MOE_FIXTURES is not set: it names the folder of other people's templates.");
        }

        return Path.Combine(folder, "tokenizers", "chat", name);
    }
}
