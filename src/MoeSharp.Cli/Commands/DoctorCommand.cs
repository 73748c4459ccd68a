using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe doctor</c>: what this machine can do, and which models fit it.</summary>
internal static class DoctorCommand
{
    private const int TrainingTokens = 2048; // of one micro-batch, for the memory of training
    private const double NoisySpread = 0.10; // arbitrary: beyond it, two timings of the same code differ by more than most improvements

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Option<bool> json = new("--json") { Description = "Print one JSON document: {machine, memory, disk, runtime, noise, models}." };
        Command command = new("doctor", "Shows what this machine can do and what will fit.") { json };
        command.SetAction(parsed =>
        {
            Diagnosis diagnosis = Diagnosis.Measure();
            if (parsed.GetValue(json))
            {
                WriteJson(diagnosis);
            }
            else
            {
                Print(diagnosis);
            }

            return CommandLine.Done;
        });
        return command;
    }

    private static void Print(Diagnosis machine)
    {
        Line("processor", $"{machine.Threads} threads, {machine.Simd} registers, {RuntimeInformation.ProcessArchitecture}");
        Line("multiply-add", $"{machine.FmaOneThread:F0} GFLOP/s on 1 thread, {machine.FmaAllThreads:F0} on {machine.Threads} ({machine.FmaAllThreads / machine.FmaOneThread:F2}x)");
        Line("reading memory", $"{machine.ReadGbps:F1} GB/s");
        Line("memory", $"{Gigabytes(machine.TotalMemory)} in all, {Gigabytes(machine.FreeMemory)} free");
        Line("disk", $"{Gigabytes(machine.FreeDisk)} free here");
        Line("runtime", $"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription.Trim()}");
        string advice = machine.Spread <= NoisySpread
            ? "quiet enough to measure"
            : "other programs are busy. Figures will waver; stop them, or raise the priority (chrt -r 10, or nice -n -10, as root)";
        Line("noise", $"timings of the same code differ by {100 * machine.Spread:F0} %: {advice}");
        Console.WriteLine();
        Console.WriteLine($"{"model",-24} {"parameters",11} {"to run",10}      {"to train",10}");
        foreach (string name in ModelPresets.Names)
        {
            ModelNeeds needs = ModelNeeds.Of(ModelPresets.Get(name));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name,-24} {needs.Parameters / 1e6,10:N1}M {Gigabytes(needs.RunBytes),10} {Mark(needs.RunBytes, machine),-4} {Gigabytes(needs.TrainBytes),10} {Mark(needs.TrainBytes, machine),-4}").TrimEnd());
        }

        Console.WriteLine($"To run: float32 weights and a cache for the whole context. To train: weights, gradients, two moments, activations of {TrainingTokens} tokens.");
    }

    private static void WriteJson(Diagnosis machine) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartObject();
        json.WriteStartObject("machine");
        json.WriteNumber("threads", machine.Threads);
        json.WriteString("simd", machine.Simd);
        json.WriteNumber("fma_gflops_1_thread", machine.FmaOneThread);
        json.WriteNumber("fma_gflops", machine.FmaAllThreads);
        json.WriteNumber("read_gbps", machine.ReadGbps);
        json.WriteEndObject();
        json.WriteStartObject("memory");
        json.WriteNumber("total_bytes", machine.TotalMemory);
        json.WriteNumber("free_bytes", machine.FreeMemory);
        json.WriteEndObject();
        json.WriteStartObject("disk");
        json.WriteNumber("free_bytes", machine.FreeDisk);
        json.WriteEndObject();
        json.WriteStartObject("runtime");
        json.WriteString("framework", RuntimeInformation.FrameworkDescription);
        json.WriteString("os", RuntimeInformation.OSDescription.Trim());
        json.WriteEndObject();
        json.WriteStartObject("noise");
        json.WriteNumber("spread", machine.Spread);
        json.WriteBoolean("quiet", machine.Spread <= NoisySpread);
        json.WriteEndObject();
        WriteModels(json, machine);
        json.WriteEndObject();
    });

    private static void WriteModels(Utf8JsonWriter json, Diagnosis machine)
    {
        json.WriteStartArray("models");
        foreach (string name in ModelPresets.Names)
        {
            ModelNeeds needs = ModelNeeds.Of(ModelPresets.Get(name));
            json.WriteStartObject();
            json.WriteString("name", name);
            json.WriteNumber("parameters", needs.Parameters);
            json.WriteNumber("run_bytes", needs.RunBytes);
            json.WriteBoolean("runs", needs.RunBytes <= machine.FreeMemory);
            json.WriteNumber("train_bytes", needs.TrainBytes);
            json.WriteBoolean("trains", needs.TrainBytes <= machine.FreeMemory);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Line(string name, FormattableString text) => Console.WriteLine($"{name,-16}{text.ToString(CultureInfo.InvariantCulture)}");

    private static string Mark(long bytes, Diagnosis machine) => bytes <= machine.FreeMemory ? "fits" : "-";

    private static string Gigabytes(long bytes) => bytes < 1_000_000_000
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F0} MB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:N1} GB");

    /// <summary>Bytes that a model needs.</summary>
    private readonly record struct ModelNeeds(long Parameters, long RunBytes, long TrainBytes)
    {
        public static ModelNeeds Of(ModelConfig config)
        {
            ModelSize size = ModelSize.Of(config);
            ModelMemory memory = size.Memory(TrainingTokens);
            return new ModelNeeds(size.Parameters.Total, memory.WeightsFloat32 + (memory.KeyValueCachePerToken * config.MaxPositionEmbeddings), memory.Training);
        }
    }

    /// <summary>What was measured.</summary>
    private sealed record Diagnosis(int Threads, string Simd, double FmaOneThread, double FmaAllThreads, double ReadGbps, long TotalMemory, long FreeMemory, long FreeDisk, double Spread)
    {
        public static Diagnosis Measure()
        {
            int threads = Environment.ProcessorCount;
            using WorkerPool all = new(threads);
            using WorkerPool one = new(1);
            long total = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes; // respects a container's limit
            return new Diagnosis(
                threads,
                MachineProbe.SimdWidth,
                MachineProbe.FmaGflops(one),
                MachineProbe.FmaGflops(all),
                MachineProbe.ReadGbps(all),
                total,
                Math.Min(total, FreeMemoryOfSystem() ?? total),
                new DriveInfo(Path.GetFullPath(".")).AvailableFreeSpace,
                MeasureSpread(one));
        }

        /// <summary>How much slower the slower quarter of equal samples is than the best, over a tenth of a second.</summary>
        private static double MeasureSpread(WorkerPool worker)
        {
            List<double> samples = [];
            long started = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(started).TotalMilliseconds < 100)
            {
                samples.Add(MachineProbe.FmaSample(worker));
            }

            samples.Sort();
            return 1 - (samples[samples.Count / 4] / samples[^1]);
        }

        /// <summary>Memory that programs can get without swapping, where the system tells.</summary>
        private static long? FreeMemoryOfSystem()
        {
            const string Source = "/proc/meminfo";
            if (!File.Exists(Source))
            {
                return null;
            }

            string? line = File.ReadLines(Source).FirstOrDefault(text => text.StartsWith("MemAvailable:", StringComparison.Ordinal));
            string? kilobytes = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1);
            return long.TryParse(kilobytes, NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value * 1024 : null;
        }
    }
}
