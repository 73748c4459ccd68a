using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Linear attention with a decaying state per head (Lightning Attention-2, arXiv 2401.04658; MiniMax-01, arXiv 2501.08313).</summary>
/// <remarks>
/// S_t = e^(-slope) S_(t-1) + k_t^T v_t, o_t = q_t S_t, with S of [head_dim, head_dim]. Token by token in the same order whatever the chunk, so that cached
/// and whole passes agree bit for bit. Heads run side by side. Legend: t token, i row of the state, j column.
/// </remarks>
public static unsafe class LightningAttention
{
    /// <summary>Runs one sequence through its states.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="numHeads">Heads.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="rows">Tokens, in order.</param>
    /// <param name="qkv">[rows, heads, 3 headDim]: query, key and value of a head lie together.</param>
    /// <param name="decays">e^(-slope) of every head, [heads].</param>
    /// <param name="state">State before the first token; on return after the last, [heads, headDim, headDim].</param>
    /// <param name="output">= [rows, heads * headDim].</param>
    public static void Forward(WorkerPool workers, int numHeads, int headDim, int rows, ReadOnlySpan<float> qkv, ReadOnlySpan<float> decays, Span<float> state, Span<float> output)
    {
        const string Operation = "LightningAttention.Forward";
        Require.Length(qkv.Length, 3L * rows * numHeads * headDim, Operation, nameof(qkv));
        Require.Length(decays.Length, numHeads, Operation, nameof(decays));
        Require.Length(state.Length, (long)numHeads * headDim * headDim, Operation, nameof(state));
        Require.Length(output.Length, (long)rows * numHeads * headDim, Operation, nameof(output));
        fixed (float* inputs = qkv, decay = decays, states = state, outputs = output)
        {
            LaneRows.ForChunks(workers, numHeads, 1, new HeadJob { NumHeads = numHeads, HeadDim = headDim, Rows = rows, Qkv = inputs, Decays = decay, State = states, Output = outputs });
        }
    }

    private struct HeadJob : ILaneRows
    {
        public int NumHeads;
        public int HeadDim;
        public int Rows;
        public float* Qkv;
        public float* Decays;
        public float* State;
        public float* Output;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int head = begin; head < end; head++)
            {
                float* state = State + ((long)head * HeadDim * HeadDim);
                for (int t = 0; t < Rows; t++)
                {
                    float* qkv = Qkv + ((((long)t * NumHeads) + head) * 3 * HeadDim);
                    Step<L, V>(qkv, Decays[head], state, Output + ((((long)t * NumHeads) + head) * HeadDim));
                }
            }
        }

        // The state is read and written once per token: each column vector runs down all rows.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void Step<L, V>(float* qkv, float decay, float* state, float* output)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            float* k = qkv + HeadDim;
            float* v = k + HeadDim;
            V decays = L.Broadcast(decay);
            for (int j = 0; j < HeadDim; j += L.Count)
            {
                int n = Math.Min(L.Count, HeadDim - j);
                V value = n == L.Count ? L.Load(v + j) : L.LoadFirst(v + j, n);
                V sum = L.Zero;
                for (int i = 0; i < HeadDim; i++)
                {
                    float* cell = state + ((long)i * HeadDim) + j;
                    V old = n == L.Count ? L.Load(cell) : L.LoadFirst(cell, n);
                    V now = L.MultiplyAdd(L.Broadcast(k[i]), value, L.Multiply(decays, old));
                    sum = L.MultiplyAdd(L.Broadcast(qkv[i]), now, sum);
                    if (n == L.Count)
                    {
                        L.Store(cell, now);
                    }
                    else
                    {
                        L.StoreFirst(cell, now, n);
                    }
                }

                if (n == L.Count)
                {
                    L.Store(output + j, sum);
                }
                else
                {
                    L.StoreFirst(output + j, sum, n);
                }
            }
        }
    }
}
