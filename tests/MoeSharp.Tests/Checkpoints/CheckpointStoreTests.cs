using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Checkpoints on disk: whole or absent, whatever happens.</summary>
public sealed class CheckpointStoreTests
{
    [Fact]
    public void What_is_saved_is_restored()
    {
        using TemporaryFolder run = new();
        using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 3))
        {
            store.Save(TestModel.Content(TestModel.Small, 10));
        }

        Checkpoint checkpoint = Latest(run.Path, 10);
        Assert.Equal(TestModel.Small, checkpoint.ReadConfig());
        AssertRestores(checkpoint);
        Assert.Equal(1000, checkpoint.ReadState().Tokens);
        Assert.Equal("""{"rng":[10,18446744073709551615],"note":"a"}""", checkpoint.ReadState().Details);
    }

    [Fact]
    public void Only_the_newest_are_kept()
    {
        using TemporaryFolder run = new();
        using CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 2);
        for (int step = 8; step <= 11; step++)
        {
            store.Save(TestModel.Content(TestModel.Small, step));
        }

        Assert.Equal(["step-10", "step-11"], Entries(run.Path));
    }

    [Fact]
    public void Saving_a_step_again_replaces_it()
    {
        using TemporaryFolder run = new();
        using CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1);
        store.Save(TestModel.Content(TestModel.Small, 5));
        File.AppendAllText(Path.Combine(run.Path, "checkpoints", "step-5", "config.json"), " ");

        store.Save(TestModel.Content(TestModel.Small, 5));

        AssertRestores(Latest(run.Path, 5));
        Assert.Equal(["step-5"], Entries(run.Path));
    }

    [Fact]
    public void A_second_writer_is_kept_out()
    {
        using TemporaryFolder run = new();
        using CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1);

        Assert.Throws<ConfigurationException>(() => CheckpointStore.Open(run.Path, keepLast: 1));
    }

    [Fact]
    public void The_folder_is_a_model_folder_and_the_run_leads_to_it()
    {
        using TemporaryFolder run = new();
        using CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1);
        Assert.Throws<ConfigurationException>(() => ModelPath.Find(run.Path));
        Checkpoint saved = store.Save(TestModel.Content(TestModel.Small, 5));

        Assert.Equal(saved.Folder, ModelPath.Find(run.Path).Folder);
        Assert.Equal(saved.Folder, ModelPath.Find(saved.Folder).Folder);
        ModelFolder.LoadWeights(saved.Folder, ModelFolder.LoadConfig(saved.Folder), TestModel.Parameters(TestModel.Small, 1));
    }

    [Fact]
    public void Damaged_moments_do_not_keep_a_model_from_being_used()
    {
        using TemporaryFolder run = new();
        using CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1);
        Checkpoint saved = store.Save(TestModel.Content(TestModel.Small, 5));
        File.AppendAllText(Path.Combine(saved.Folder, "trainer", "moments.safetensors"), " ");

        Assert.Null(CheckpointStore.LatestValid(run.Path).Latest);
        Assert.Equal(saved.Folder, ModelPath.Find(run.Path).Folder);
    }

    public static TheoryData<string> Files => ["config.json", "generation_config.json", "model.safetensors", "trainer/moments.safetensors", "trainer/state.json", "manifest.json"];

    [Theory]
    [MemberData(nameof(Files))]
    public void Damage_is_named_and_the_one_before_is_used(string file)
    {
        using TemporaryFolder run = new();
        string path = Path.Combine(run.Path, "checkpoints", "step-20", file);
        using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 3))
        {
            store.Save(TestModel.Content(TestModel.Small, 10));
            store.Save(TestModel.Content(TestModel.Small, 20));
        }

        byte[] whole = File.ReadAllBytes(path);
        AssertFallsBack(run.Path, file, () => File.WriteAllBytes(path, whole[..^1]), isManifestText: file == "manifest.json");
        AssertFallsBack(run.Path, file, () => File.WriteAllBytes(path, []), isManifestText: false);
        AssertFallsBack(run.Path, file, () => File.Delete(path), isManifestText: false);
        File.WriteAllBytes(path, whole);
        AssertRestores(Latest(run.Path, 20));
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_flipped_bit_anywhere_is_never_loaded(string file)
    {
        using TemporaryFolder run = new();
        string path = Path.Combine(run.Path, "checkpoints", "step-20", file);
        using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 3))
        {
            store.Save(TestModel.Content(TestModel.Small, 10));
            store.Save(TestModel.Content(TestModel.Small, 20));
        }

        byte[] whole = File.ReadAllBytes(path);
        int stride = Math.Max(1, whole.Length / 60);
        for (int position = 0; position < whole.Length; position += stride)
        {
            byte[] flipped = [.. whole];
            flipped[position] ^= (byte)(1 << (position % 8));
            File.WriteAllBytes(path, flipped);
            CheckpointSearch search = CheckpointStore.LatestValid(run.Path);
            Assert.NotNull(search.Latest);
            if (file == "manifest.json" && search.Latest.Step == 20)
            {
                AssertRestores(search.Latest); // a flipped space or letter case that leaves every hash in force
                continue;
            }

            Assert.Equal(10, search.Latest.Step);
            Assert.Contains(file, Assert.Single(search.Damaged).Reason, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void When_all_are_damaged_the_path_says_so()
    {
        using TemporaryFolder run = new();
        using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 3))
        {
            store.Save(TestModel.Content(TestModel.Small, 10));
        }

        File.Delete(Path.Combine(run.Path, "checkpoints", "step-10", "model.safetensors"));

        Assert.Contains("model.safetensors is missing", Assert.Throws<FileFormatException>(() => ModelPath.Find(run.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_disk_that_fails_at_any_step_never_costs_the_checkpoint_before(bool isKilled)
    {
        int failures = 0;
        for (int failAt = 0; ; failAt++)
        {
            using TemporaryFolder run = new();
            using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1, FailingFiles.Never))
            {
                store.Save(TestModel.Content(TestModel.Least, 10));
            }

            FailingFiles files = new(failAt, isKilled);
            Exception? error;
            using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1, files))
            {
                error = Record.Exception(() => store.Save(TestModel.Content(TestModel.Least, 20)));
            }

            CheckpointSearch search = CheckpointStore.LatestValid(run.Path);
            Assert.True(search.Latest is not null, $"operation {failAt}: nothing left");
            AssertRestores(search.Latest);
            Assert.Empty(search.Damaged);
            Assert.True(error is null or TrainingException, $"operation {failAt}: {error}");
            Assert.True(error is not null || search.Latest.Step == 20, $"operation {failAt}: reported as saved, but is not there");

            AssertNextStartWorks(run.Path, search.Latest.Step);
            if (!files.HasFailed)
            {
                break;
            }

            failures++;
        }

        Assert.InRange(failures, 30, 500); // every file: create, writes, sync; folders, renames, deletion
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Replacing_the_only_checkpoint_never_loses_it(bool isKilled)
    {
        for (int failAt = 0; ; failAt++)
        {
            using TemporaryFolder run = new();
            using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1, FailingFiles.Never))
            {
                store.Save(TestModel.Content(TestModel.Least, 10));
            }

            FailingFiles files = new(failAt, isKilled);
            using (CheckpointStore store = CheckpointStore.Open(run.Path, keepLast: 1, files))
            {
                _ = Record.Exception(() => store.Save(TestModel.Content(TestModel.Least, 10)));
            }

            AssertNextStartWorks(run.Path, 10);
            if (!files.HasFailed)
            {
                break;
            }
        }
    }

    // A new process cleans up, finds the checkpoint and saves the next.
    private static void AssertNextStartWorks(string run, long expectedStep)
    {
        using CheckpointStore store = CheckpointStore.Open(run, keepLast: 1, FailingFiles.Never);
        AssertRestores(Latest(run, expectedStep));
        store.Save(TestModel.Content(TestModel.Least, 30));
        AssertRestores(Latest(run, 30));
        Assert.Equal(["step-30"], Entries(run));
    }

    private static void AssertFallsBack(string run, string file, Action damage, bool isManifestText)
    {
        damage();
        CheckpointSearch search = CheckpointStore.LatestValid(run);
        if (isManifestText)
        {
            return; // the last byte of the manifest is a newline: nothing is lost
        }

        Assert.Equal(10, search.Latest?.Step);
        DamagedCheckpoint damaged = Assert.Single(search.Damaged);
        Assert.Equal(20, damaged.Step);
        Assert.Contains(file, damaged.Reason, StringComparison.Ordinal);
    }

    private static Checkpoint Latest(string run, long step)
    {
        CheckpointSearch search = CheckpointStore.LatestValid(run);
        Assert.Empty(search.Damaged);
        Assert.NotNull(search.Latest);
        Assert.Equal(step, search.Latest.Step);
        return search.Latest;
    }

    private static void AssertRestores(Checkpoint checkpoint)
    {
        ModelConfig config = checkpoint.ReadConfig();
        List<Parameter> expected = TestModel.Parameters(config, (int)checkpoint.Step);
        List<Parameter> parameters = TestModel.Parameters(config, 12345);
        checkpoint.LoadWeights(parameters);
        foreach ((Parameter left, Parameter right) in expected.Zip(parameters))
        {
            Assert.Equal(left.Value, right.Value);
        }

        List<TrainerTensor> moments = TestModel.Moments(parameters, 777);
        checkpoint.LoadTensors(moments);
        foreach ((TrainerTensor left, TrainerTensor right) in TestModel.Moments(expected, checkpoint.Step).Zip(moments))
        {
            Assert.Equal(left.Values(), right.Values());
        }

        Assert.Equal(checkpoint.Step, checkpoint.ReadState().Step);
    }

    private static string[] Entries(string run) =>
        [.. Directory.GetDirectories(Path.Combine(run, "checkpoints")).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
}
