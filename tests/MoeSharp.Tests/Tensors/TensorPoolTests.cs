using MoeSharp.Tensors;

namespace MoeSharp.Tests.Tensors;

public sealed class TensorPoolTests
{
    [Fact]
    public void Memory_of_a_closed_scope_serves_the_next_request()
    {
        using TensorPool pool = new();
        int scope = pool.OpenScope();
        pool.Rent(new Shape(100, 64));
        Tensor kept = pool.Rent(new Shape(10, 64));
        pool.CloseScope(scope, kept);
        long held = pool.HeldFloats;
        pool.Rent(new Shape(100, 64));
        Assert.Equal(held, pool.HeldFloats);
        kept.Data.Fill(1f); // still valid
    }

    [Fact]
    public void A_saved_tensor_outlives_its_scope_and_is_released_when_unsaved()
    {
        using TensorPool pool = new();
        int scope = pool.OpenScope();
        Tensor saved = pool.Rent(new Shape(8));
        Tensor kept = pool.Rent(new Shape(8));
        saved.Save();
        pool.CloseScope(scope, kept);
        saved.Data.Fill(3f);
        saved.Unsave();
        Assert.Throws<InvalidOperationException>(() => saved.Data.Length);
    }

    [Fact]
    public void A_shared_gradient_is_copied_before_it_is_added_to()
    {
        using TensorPool pool = new();
        Tensor source = pool.Rent(new Shape(4));
        Tensor other = pool.Rent(new Shape(4));
        source.WriteGradient(out bool accumulate).Fill(2f);
        Assert.False(accumulate);
        other.ShareGradientOf(source, null);
        other.WriteGradient(out accumulate)[0] += 5f;
        Assert.True(accumulate);
        Assert.Equal(2f, source.Gradient[0]);
        Assert.Equal([7f, 2f, 2f, 2f], other.Gradient.ToArray());
    }

    [Fact]
    public void Memory_that_two_passes_did_not_use_goes_back_to_the_system()
    {
        using TensorPool pool = new();
        pool.Rent(new Shape(1000, 1000));
        pool.EndPass();
        for (int pass = 0; pass < 4; pass++)
        {
            pool.Rent(new Shape(10));
            pool.EndPass();
        }

        Assert.InRange(pool.HeldFloats, 1, 2048);
    }
}
