namespace MoeSharp.Classic.Arm;

/// <summary>An arm of rigid links in a vertical plane, moved by torques at its joints: what is learned is its forward dynamics.</summary>
/// <remarks>
/// Links are thin uniform rods. With absolute angles phi_i = q_1 + ... + q_i from the horizontal, the kinetic energy is sum_ij A_ij cos(phi_i - phi_j) w_i w_j / 2, where
/// A_ii = l_i^2 (m_i / 3 + mass beyond i) and A_ij = l_i l_j (m_j / 2 + mass beyond j) for j beyond i. Lagrange's equations then give, for each link,
/// sum_j A_ij cos(phi_i - phi_j) w'_j + sum_j A_ij sin(phi_i - phi_j) w_j^2 + g l_i (m_i / 2 + mass beyond i) cos phi_i = t_i - t_{i+1},
/// with t_i the joint's torque less viscous friction. The accelerations of the joints are differences of the solution: no integration in time is needed.
/// </remarks>
public sealed class PlanarArm
{
    private readonly double[] _coupling; // A: [joints, joints]
    private readonly double[] _weight; // g l_i (m_i / 2 + mass beyond i)
    private readonly double _friction;

    /// <summary>Builds an arm.</summary>
    /// <param name="lengths">Length of each link in m, from the base.</param>
    /// <param name="masses">Mass of each link in kg.</param>
    /// <param name="friction">Viscous friction at each joint in N m s.</param>
    /// <param name="gravity">Acceleration of gravity in m/s^2; 0 for an arm that moves in a horizontal plane.</param>
    /// <exception cref="ConfigurationException">A length or mass is not positive, or their numbers differ.</exception>
    public PlanarArm(IReadOnlyList<double> lengths, IReadOnlyList<double> masses, double friction, double gravity)
    {
        if (lengths.Count == 0 || lengths.Count != masses.Count || lengths.Any(length => !(length > 0)) || masses.Any(mass => !(mass > 0)))
        {
            throw new ConfigurationException($"an arm needs one positive length and one positive mass per link, not {lengths.Count} lengths and {masses.Count} masses");
        }

        NumJoints = lengths.Count;
        _friction = friction;
        _coupling = new double[NumJoints * NumJoints];
        _weight = new double[NumJoints];
        double beyond = 0;
        for (int link = NumJoints - 1; link >= 0; link--)
        {
            for (int inner = 0; inner < link; inner++)
            {
                double coupling = lengths[inner] * lengths[link] * ((masses[link] / 2) + beyond);
                _coupling[(inner * NumJoints) + link] = coupling;
                _coupling[(link * NumJoints) + inner] = coupling;
            }

            _coupling[link * (NumJoints + 1)] = lengths[link] * lengths[link] * ((masses[link] / 3) + beyond);
            _weight[link] = gravity * lengths[link] * ((masses[link] / 2) + beyond);
            beyond += masses[link];
        }
    }

    /// <summary>Number of joints.</summary>
    public int NumJoints { get; }

    /// <summary>Accelerations of the joints.</summary>
    /// <param name="angles">q in rad, each relative to the link before: [joints].</param>
    /// <param name="velocities">q' in rad/s: [joints].</param>
    /// <param name="torques">In N m: [joints].</param>
    /// <param name="accelerations">= q'' in rad/s^2: [joints].</param>
    public void Accelerate(ReadOnlySpan<double> angles, ReadOnlySpan<double> velocities, ReadOnlySpan<double> torques, Span<double> accelerations)
    {
        double[] phi = Sums(angles);
        double[] w = Sums(velocities);
        double[] inertia = new double[NumJoints * NumJoints];
        for (int i = 0; i < NumJoints; i++)
        {
            double driving = torques[i] - (_friction * velocities[i]);
            double reaction = i + 1 < NumJoints ? torques[i + 1] - (_friction * velocities[i + 1]) : 0;
            double force = driving - reaction - (_weight[i] * Math.Cos(phi[i]));
            for (int j = 0; j < NumJoints; j++)
            {
                (double sin, double cos) = Math.SinCos(phi[i] - phi[j]);
                inertia[(i * NumJoints) + j] = _coupling[(i * NumJoints) + j] * cos;
                force -= _coupling[(i * NumJoints) + j] * sin * w[j] * w[j];
            }

            accelerations[i] = force;
        }

        WeightedLeastSquares.Factor(inertia, NumJoints, "the arm's inertia").Solve(accelerations);
        for (int joint = NumJoints - 1; joint > 0; joint--)
        {
            accelerations[joint] -= accelerations[joint - 1];
        }
    }

    /// <summary>Kinetic and potential energy in J; without friction its rate of change is the power of the torques.</summary>
    /// <param name="angles">q: [joints].</param>
    /// <param name="velocities">q': [joints].</param>
    public double Energy(ReadOnlySpan<double> angles, ReadOnlySpan<double> velocities)
    {
        double[] phi = Sums(angles);
        double[] w = Sums(velocities);
        double energy = 0;
        for (int i = 0; i < NumJoints; i++)
        {
            energy += _weight[i] * Math.Sin(phi[i]);
            for (int j = 0; j < NumJoints; j++)
            {
                energy += 0.5 * _coupling[(i * NumJoints) + j] * Math.Cos(phi[i] - phi[j]) * w[i] * w[j];
            }
        }

        return energy;
    }

    private static double[] Sums(ReadOnlySpan<double> values)
    {
        double[] sums = values.ToArray();
        for (int i = 1; i < sums.Length; i++)
        {
            sums[i] += sums[i - 1];
        }

        return sums;
    }
}
