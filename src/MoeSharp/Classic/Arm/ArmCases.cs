namespace MoeSharp.Classic.Arm;

/// <summary>The arm of the demonstration and the states that are drawn for it.</summary>
public sealed record ArmOptions
{
    /// <summary>Joints.</summary>
    public int Joints { get; init; } = 4;

    /// <summary>Angles are drawn evenly from minus to plus this, in rad.</summary>
    public double AngleRange { get; init; } = Math.PI / 2;

    /// <summary>Velocities, in rad/s.</summary>
    public double VelocityRange { get; init; } = 3;

    /// <summary>Torques at the first joint, in N m; at the others less, as the mass beyond them is less.</summary>
    public double TorqueRange { get; init; } = 20;

    /// <summary>Acceleration of gravity, in m/s^2.</summary>
    public double Gravity { get; init; } = 9.81;
}

/// <summary>States, torques and the accelerations that follow.</summary>
public static class ArmCases
{
    private const double LinkLength = 0.3;
    private const double LinkMass = 1.0;
    private const double Friction = 0.1;

    /// <summary>The arm: links of 0.3 m and 1 kg.</summary>
    public static PlanarArm Arm(ArmOptions options) => new(
        [.. Enumerable.Repeat(LinkLength, options.Joints)], [.. Enumerable.Repeat(LinkMass, options.Joints)], Friction, options.Gravity);

    /// <summary>Draws cases.</summary>
    /// <param name="options">Arm and ranges.</param>
    /// <param name="count">How many.</param>
    /// <param name="seed">Chooses the states.</param>
    /// <param name="stream">Independent draws of the same seed.</param>
    /// <returns>Rows of angles, velocities, torques and accelerations: [count, 4 joints].</returns>
    public static double[] Draw(ArmOptions options, int count, ulong seed, ulong stream)
    {
        PlanarArm arm = Arm(options);
        SeededNumbers random = new(seed, stream);
        int joints = options.Joints;
        double[] rows = new double[count * joints * 4];
        for (int index = 0; index < count; index++)
        {
            Span<double> row = rows.AsSpan(index * joints * 4, joints * 4);
            for (int joint = 0; joint < joints; joint++)
            {
                double share = (double)((joints - joint) * (joints - joint)) / (joints * joints);
                row[joint] = random.Between(-options.AngleRange, options.AngleRange);
                row[joints + joint] = random.Between(-options.VelocityRange, options.VelocityRange);
                row[(2 * joints) + joint] = share * random.Between(-options.TorqueRange, options.TorqueRange);
            }

            arm.Accelerate(row[..joints], row.Slice(joints, joints), row.Slice(2 * joints, joints), row[(3 * joints)..]);
        }

        return rows;
    }
}
