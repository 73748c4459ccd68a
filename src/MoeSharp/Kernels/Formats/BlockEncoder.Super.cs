using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Formats;

/// <summary>The formats of 256 values. First every group gets the scale that is best for it alone; then the shared scale and the small integers are chosen together.</summary>
public static unsafe partial class BlockEncoder
{
    private const int Rounds = 2; // shared scale for the integers, integers for the shared scale; the best is kept

    // d (shared), integers of the groups
    private static void EncodeQ3K(float* x, float* w, byte* block)
    {
        sbyte* scales = stackalloc sbyte[16];
        byte* codes = stackalloc byte[SuperLength];
        float d = FitScales<ThreeBits>(x, w, 16, -32, 31, scales);
        StoreHalf(d, block + 108);
        new Span<byte>(block, 108).Clear();
        for (int group = 0; group < 16; group++)
        {
            StoreCodes<ThreeBits>(x + (16 * group), 16, d * scales[group], codes + (16 * group));
            int code = scales[group] + 32;
            byte* low = block + 96 + (group % 8);
            *low |= (byte)((code & 15) << (4 * (group / 8)));
            block[104 + (group % 4)] |= (byte)((code >> 4) << (2 * (group / 4)));
        }

        // Codes count from -4: their upper bit is the one of the mask.
        for (int i = 0; i < SuperLength; i++)
        {
            int plane = i % 128 / 32;
            block[32 + (32 * (i / 128)) + (i % 32)] |= (byte)((codes[i] & 3) << (2 * plane));
            block[i % 32] |= (byte)((codes[i] >> 2) << ((4 * (i / 128)) + plane));
        }
    }

    private static void EncodeQ6K(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[SuperLength];
        sbyte* scales = (sbyte*)block + 192;
        float d = FitScales<SixBits>(x, w, 16, -128, 127, scales);
        StoreHalf(d, block + 208);
        for (int group = 0; group < 16; group++)
        {
            StoreCodes<SixBits>(x + (16 * group), 16, d * scales[group], codes + (16 * group));
        }

        for (int half = 0; half < 2; half++)
        {
            byte* quarter = codes + (128 * half);
            for (int l = 0; l < 32; l++)
            {
                block[(64 * half) + l] = (byte)((quarter[l] & 15) | ((quarter[l + 64] & 15) << 4));
                block[(64 * half) + 32 + l] = (byte)((quarter[l + 32] & 15) | ((quarter[l + 96] & 15) << 4));
                block[128 + (32 * half) + l] = (byte)((quarter[l] >> 4) | ((quarter[l + 32] >> 4) << 2) | ((quarter[l + 64] >> 4) << 4) | ((quarter[l + 96] >> 4) << 6));
            }
        }
    }

    private static void EncodeIQ4XS(float* x, float* w, byte* block)
    {
        sbyte* scales = stackalloc sbyte[8];
        byte* codes = stackalloc byte[BlockLength];
        float d = FitScales<LadderLevels>(x, w, 8, -32, 31, scales);
        StoreHalf(d, block);
        new Span<byte>(block + 2, 6).Clear();
        int high = 0;
        for (int group = 0; group < 8; group++)
        {
            int code = scales[group] + 32;
            block[4 + (group / 2)] |= (byte)((code & 15) << (4 * (group % 2)));
            high |= (code >> 4) << (2 * group);
            StoreCodes<LadderLevels>(x + (32 * group), BlockLength, d * scales[group], codes);
            PackNibbles(codes, block + 8 + (16 * group));
        }

        Unsafe.WriteUnaligned(block + 2, (ushort)high);
    }

    private static void EncodeQ4K(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[SuperLength];
        EncodePairs(x, w, 15, block, codes);
        for (int pair = 0; pair < 4; pair++)
        {
            PackPair(codes + (64 * pair), block + 16 + (32 * pair));
        }
    }

    private static void EncodeQ5K(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[SuperLength];
        EncodePairs(x, w, 31, block, codes);
        for (int pair = 0; pair < 4; pair++)
        {
            PackPair(codes + (64 * pair), block + 48 + (32 * pair));
        }

        for (int l = 0; l < 32; l++)
        {
            int fifth = 0;
            for (int group = 0; group < 8; group++)
            {
                fifth |= (codes[(32 * group) + l] >> 4) << group;
            }

            block[16 + l] = (byte)fifth;
        }
    }

    private static void EncodeQ2K(float* x, float* w, byte* block)
    {
        byte* scales = stackalloc byte[16];
        byte* minima = stackalloc byte[16];
        byte* codes = stackalloc byte[SuperLength];
        SharedLine shared = FitLines(x, w, 16, 3, 15, scales, minima);
        StoreHalf(shared.Scale, block + 80);
        StoreHalf(shared.Minimum, block + 82);
        for (int group = 0; group < 16; group++)
        {
            block[group] = (byte)(scales[group] | (minima[group] << 4));
            StoreCodes(x + (16 * group), 16, shared.Line(scales[group], minima[group]), 3, codes + (16 * group));
        }

        for (int l = 0; l < 64; l++)
        {
            byte* plane = codes + (128 * (l / 32)) + (l % 32);
            block[16 + l] = (byte)(plane[0] | (plane[32] << 2) | (plane[64] << 4) | (plane[96] << 6));
        }
    }

    // d, dmin, 12 bytes of 6-bit scales and minima; the codes of all values
    private static void EncodePairs(float* x, float* w, float highest, byte* block, byte* codes)
    {
        byte* scales = stackalloc byte[8];
        byte* minima = stackalloc byte[8];
        SharedLine shared = FitLines(x, w, 8, highest, 63, scales, minima);
        StoreHalf(shared.Scale, block);
        StoreHalf(shared.Minimum, block + 2);
        for (int group = 0; group < 8; group++)
        {
            StoreCodes(x + (32 * group), BlockLength, shared.Line(scales[group], minima[group]), highest, codes + (32 * group));
        }

        byte* packed = block + 4;
        for (int j = 0; j < 4; j++)
        {
            packed[j] = (byte)(scales[j] | ((scales[j + 4] >> 4) << 6));
            packed[j + 4] = (byte)(minima[j] | ((minima[j + 4] >> 4) << 6));
            packed[j + 8] = (byte)((scales[j + 4] & 15) | ((minima[j + 4] & 15) << 4));
        }
    }

    // 64 codes: the first 32 in the low nibbles of 32 bytes, the rest in the high ones
    private static void PackPair(byte* codes, byte* target)
    {
        for (int l = 0; l < 32; l += 16)
        {
            (Sixteen.Low(Vector128.Load(codes + l)) | (Sixteen.Low(Vector128.Load(codes + 32 + l)).AsUInt16() << 4).AsByte()).Store(target + l);
        }
    }

    /// <summary>Chooses d and integers s[group] from <paramref name="lowest"/> to <paramref name="highest"/>: value = (d s) level.</summary>
    /// <returns>d, exact as a half.</returns>
    private static float FitScales<T>(float* x, float* w, int groups, int lowest, int highest, sbyte* scales)
        where T : struct, ILevels
    {
        int n = SuperLength / groups;
        float* ideal = stackalloc float[16];
        sbyte* tried = stackalloc sbyte[16];
        float extreme = 0;
        for (int group = 0; group < groups; group++)
        {
            ideal[group] = ScaleSearch.Symmetric<T>(x + (n * group), w + (n * group), n);
            extreme = MathF.Abs(ideal[group]) > MathF.Abs(extreme) ? ideal[group] : extreme;
        }

        new Span<sbyte>(scales, groups).Clear();
        float d = Rounded(extreme / lowest);
        float best = 0;
        double least = double.PositiveInfinity;
        for (int round = 0; round < Rounds && d != 0; round++)
        {
            double error = 0, valueLevel = 0, levelLevel = 0;
            for (int group = 0; group < groups; group++)
            {
                float* values = x + (n * group);
                float* weights = w + (n * group);
                error += BestScale<T>(values, weights, n, d, ideal[group] / d, lowest, highest, out int scale);
                tried[group] = (sbyte)scale;
                if (scale != 0)
                {
                    ScaleProducts products = ScaleSearch.Products<T>(values, weights, n, 1 / (d * scale));
                    valueLevel += (double)scale * products.ValueLevel;
                    levelLevel += (double)scale * scale * products.LevelLevel;
                }
            }

            if (error < least)
            {
                least = error;
                best = d;
                new Span<sbyte>(tried, groups).CopyTo(new Span<sbyte>(scales, groups));
            }

            float next = levelLevel > 0 ? Rounded((float)(valueLevel / levelLevel)) : d;
            if (next == d)
            {
                break;
            }

            d = next;
        }

        return best;
    }

    // The integer next to the ideal one, or one to either side of it.
    private static float BestScale<T>(float* x, float* w, int n, float d, float ideal, int lowest, int highest, out int scale)
        where T : struct, ILevels
    {
        int middle = (int)Math.Clamp(MathF.Round(ideal), lowest, highest);
        scale = middle;
        float least = ScaleSearch.Error<T>(x, w, n, d * middle);
        for (int side = -1; side <= 1; side += 2)
        {
            int other = Math.Clamp(middle + side, lowest, highest);
            float error = ScaleSearch.Error<T>(x, w, n, d * other);
            if (error < least)
            {
                least = error;
                scale = other;
            }
        }

        return least;
    }

    /// <summary>Chooses d, dmin and integers s, m from 0 to <paramref name="top"/> for every group: value = (d s) level - dmin m.</summary>
    private static SharedLine FitLines(float* x, float* w, int groups, float highest, int top, byte* scales, byte* minima)
    {
        int n = SuperLength / groups;
        LevelLine* ideal = stackalloc LevelLine[16];
        byte* tried = stackalloc byte[32];
        float largestScale = 0;
        float largestMinimum = 0;
        for (int group = 0; group < groups; group++)
        {
            ideal[group] = ScaleSearch.Line(x + (n * group), w + (n * group), n, highest, isBelowZero: true);
            largestScale = Math.Max(largestScale, ideal[group].Scale);
            largestMinimum = Math.Max(largestMinimum, -ideal[group].Offset);
        }

        new Span<byte>(scales, groups).Clear();
        new Span<byte>(minima, groups).Clear();
        SharedLine shared = new(Rounded(largestScale / top), Rounded(largestMinimum / top));
        SharedLine best = default;
        double least = double.PositiveInfinity;
        for (int round = 0; round < Rounds; round++)
        {
            SharedLineFit fit = default;
            double error = 0;
            for (int group = 0; group < groups; group++)
            {
                float* values = x + (n * group);
                float* weights = w + (n * group);
                error += BestLine(values, weights, n, shared, ideal[group], highest, top, out int scale, out int minimum);
                tried[group] = (byte)scale;
                tried[16 + group] = (byte)minimum;
                LevelLine line = shared.Line(scale, minimum);
                fit.Add(ScaleSearch.Products(values, weights, n, line.Scale == 0 ? 0 : 1 / line.Scale, line.Offset, highest), ScaleSearch.Totals(values, weights, n), scale, minimum);
            }

            if (error < least)
            {
                least = error;
                best = shared;
                new Span<byte>(tried, groups).CopyTo(new Span<byte>(scales, groups));
                new Span<byte>(tried + 16, groups).CopyTo(new Span<byte>(minima, groups));
            }

            SharedLine next = fit.Solve(shared);
            if (next == shared)
            {
                break;
            }

            shared = next;
        }

        return best;
    }

    // The pair of integers next to the ideal ones, or one of its 15 nearest neighbours; one lane each.
    private static float BestLine(float* x, float* w, int n, SharedLine shared, LevelLine ideal, float highest, int top, out int scale, out int minimum)
    {
        float middleScale = shared.Scale == 0 ? 0 : MathF.Round(Math.Clamp(ideal.Scale / shared.Scale, 0, top));
        float middleMinimum = shared.Minimum == 0 ? 0 : MathF.Round(Math.Clamp(-ideal.Offset / shared.Minimum, 0, top));
        Vector512<float> limit = Vector512.Create((float)top);
        Vector512<float> scales = Vector512.MinNative(Vector512.MaxNative(Vector512.Create(middleScale) + ScaleNeighbours, Vector512<float>.Zero), limit);
        Vector512<float> minima = Vector512.MinNative(Vector512.MaxNative(Vector512.Create(middleMinimum) + MinimumNeighbours, Vector512<float>.Zero), limit);
        float least = ScaleSearch.LeastError(x, w, n, scales * Vector512.Create(shared.Scale), -(minima * Vector512.Create(shared.Minimum)), highest, out int lane);
        scale = (int)scales.GetElement(lane);
        minimum = (int)minima.GetElement(lane);
        return least;
    }

    private static Vector512<float> ScaleNeighbours => Vector512.Create(0f, -1, 1, 0, 0, -1, -1, 1, 1, -2, 2, -2, -2, 2, 2, 0);

    private static Vector512<float> MinimumNeighbours => Vector512.Create(0f, 0, 0, -1, 1, -1, 1, -1, 1, 0, 0, -1, 1, -1, 1, 2);

    // d and dmin, exact as halves.
    private readonly record struct SharedLine(float Scale, float Minimum)
    {
        public LevelLine Line(int scale, int minimum) => new(Scale * scale, -(Minimum * minimum));
    }

    // Normal equations of x = d (s q) - dmin m over all groups.
    private struct SharedLineFit
    {
        private double _levelLevel;
        private double _levelMinimum;
        private double _minimumMinimum;
        private double _valueLevel;
        private double _valueMinimum;

        public void Add(LineProducts products, LineTotals totals, int scale, int minimum)
        {
            _levelLevel += (double)scale * scale * products.LevelLevel;
            _levelMinimum += (double)scale * minimum * products.Level;
            _minimumMinimum += (double)minimum * minimum * totals.Weight;
            _valueLevel += (double)scale * products.ValueLevel;
            _valueMinimum += (double)minimum * totals.Value;
        }

        public readonly SharedLine Solve(SharedLine current)
        {
            double determinant = (_levelLevel * _minimumMinimum) - (_levelMinimum * _levelMinimum);
            if (determinant > 1e-9 * _levelLevel * _minimumMinimum)
            {
                double scale = ((_valueLevel * _minimumMinimum) - (_valueMinimum * _levelMinimum)) / determinant;
                double minimum = ((_valueLevel * _levelMinimum) - (_valueMinimum * _levelLevel)) / determinant;
                if (scale > 0 && minimum > 0)
                {
                    return new SharedLine(Rounded((float)scale), Rounded((float)minimum));
                }
            }

            return _levelLevel > 0 && _minimumMinimum == 0 && _valueLevel > 0 ? current with { Scale = Rounded((float)(_valueLevel / _levelLevel)) } : current;
        }
    }
}
