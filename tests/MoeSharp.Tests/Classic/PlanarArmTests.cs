using MoeSharp.Classic;
using MoeSharp.Classic.Arm;

namespace MoeSharp.Tests.Classic;

/// <summary>The arm's accelerations against a textbook, a single rod and the balance of energy.</summary>
public sealed class PlanarArmTests
{
    [Fact]
    public void A_single_rod_is_a_pendulum()
    {
        PlanarArm arm = new([0.8], [2.5], 0.3, 9.81);
        double[] acceleration = new double[1];
        arm.Accelerate([0.4], [1.5], [2.0], acceleration);
        double expected = (2.0 - (0.3 * 1.5) - (9.81 * 2.5 * 0.4 * Math.Cos(0.4))) / (2.5 * 0.8 * 0.8 / 3);
        Assert.Equal(expected, acceleration[0], 1e-12);
    }

    [Fact]
    public void Two_links_follow_the_textbook()
    {
        // M(q) q'' + c(q, q') + g(q) = t with relative angles, as in robotics textbooks; centres of mass in the middle of rods.
        (double l1, double l2, double m1, double m2) = (0.5, 0.7, 1.2, 0.9);
        (double q1, double q2, double v1, double v2, double t1, double t2) = (0.3, -0.9, 1.1, -2.0, 1.5, 0.4);
        (double i1, double i2) = (m1 * l1 * l1 / 12, m2 * l2 * l2 / 12);
        double cross = m2 * l1 * (l2 / 2) * Math.Cos(q2);
        double m22 = i2 + (m2 * l2 * l2 / 4);
        double m12 = m22 + cross;
        double m11 = i1 + (m1 * l1 * l1 / 4) + (m2 * l1 * l1) + m22 + (2 * cross);
        double h = m2 * l1 * (l2 / 2) * Math.Sin(q2);
        double g2 = 9.81 * m2 * (l2 / 2) * Math.Cos(q1 + q2);
        double g1 = (9.81 * ((m1 * l1 / 2) + (m2 * l1)) * Math.Cos(q1)) + g2;
        double r1 = t1 + (h * ((2 * v1 * v2) + (v2 * v2))) - g1;
        double r2 = t2 - (h * v1 * v1) - g2;
        double determinant = (m11 * m22) - (m12 * m12);
        double[] acceleration = new double[2];
        new PlanarArm([l1, l2], [m1, m2], 0, 9.81).Accelerate([q1, q2], [v1, v2], [t1, t2], acceleration);
        Assert.Equal(((m22 * r1) - (m12 * r2)) / determinant, acceleration[0], 1e-11);
        Assert.Equal(((m11 * r2) - (m12 * r1)) / determinant, acceleration[1], 1e-11);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public void Energy_changes_by_the_power_of_the_torques(int joints)
    {
        const double Step = 1e-5; // s
        SeededNumbers random = new(2, 0);
        double[] masses = [.. Enumerable.Range(0, joints).Select(_ => random.Between(0.5, 2))];
        double[] lengths = [.. Enumerable.Range(0, joints).Select(_ => random.Between(0.2, 0.6))];
        PlanarArm arm = new(lengths, masses, 0, 9.81);
        double[] q = new double[joints];
        double[] v = new double[joints];
        double[] torque = new double[joints];
        double[] a = new double[joints];
        for (int trial = 0; trial < 20; trial++)
        {
            random.FillNormal(q, 1);
            random.FillNormal(v, 2);
            random.FillNormal(torque, 5);
            arm.Accelerate(q, v, torque, a);
            double slope = (EnergyAfter(Step) - EnergyAfter(-Step)) / (2 * Step);
            double power = torque.Zip(v, (t, w) => t * w).Sum();
            Assert.Equal(power, slope, 1e-6 * (1 + Math.Abs(power) + Math.Abs(arm.Energy(q, v))));
        }

        double EnergyAfter(double time) => arm.Energy(
            [.. q.Select((angle, i) => angle + (v[i] * time) + (0.5 * a[i] * time * time))], [.. v.Select((speed, i) => speed + (a[i] * time))]);
    }

    [Fact]
    public void An_arm_without_links_or_with_weightless_ones_is_refused()
    {
        Assert.Throws<ConfigurationException>(() => new PlanarArm([], [], 0, 0));
        Assert.Throws<ConfigurationException>(() => new PlanarArm([1, 1], [1], 0, 0));
        Assert.Throws<ConfigurationException>(() => new PlanarArm([1, 1], [1, 0], 0, 0));
    }
}
