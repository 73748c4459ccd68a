using System.Globalization;
using System.Text;
using MoeSharp.Training.Report;

namespace MoeSharp.Analysis.Study.Report;

/// <summary>A matrix as a picture: one cell per value, darker for more, each with its value on hover; and the same numbers as a table for those who read.</summary>
internal static class HeatTable
{
    private const int LongestTable = 4096; // cells; larger matrices are in study.json
    private const int CellSize = 14;
    private const int Gap = 1;
    private const int CharacterWidth = 7;
    private const int HeaderHeight = 16;
    private const int LabelEvery = 8; // columns between numbers above wide pictures

    /// <summary>Draws the picture.</summary>
    /// <param name="page">Page to append to.</param>
    /// <param name="matrix">What to draw.</param>
    public static void Append(StringBuilder page, HeatMatrix matrix)
    {
        int left = 8 + (CharacterWidth * matrix.Rows.Max(name => name.Length));
        int width = left + (matrix.Columns.Count * CellSize);
        int height = HeaderHeight + (matrix.Rows.Count * CellSize);
        page.Append(CultureInfo.InvariantCulture, $"<div class=\"heat\"><svg viewBox=\"0 0 {width} {height}\" style=\"width:{width}px\" role=\"img\" aria-label=\"{Html.Text(matrix.Title)}; the numbers follow as a table\">");
        for (int column = 0; column < matrix.Columns.Count; column += matrix.Columns.Count > LabelEvery ? LabelEvery : 1)
        {
            page.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{left + (column * CellSize)}\" y=\"11\">{Html.Text(matrix.Columns[column])}</text>");
        }

        for (int row = 0; row < matrix.Rows.Count; row++)
        {
            int top = HeaderHeight + (row * CellSize);
            page.Append(CultureInfo.InvariantCulture, $"<text class=\"tick\" x=\"{left - 6}\" y=\"{top + 11}\" text-anchor=\"end\">{Html.Text(matrix.Rows[row])}</text>");
            for (int column = 0; column < matrix.Columns.Count; column++)
            {
                AppendCell(page, matrix, row, column, left + (column * CellSize), top);
            }
        }

        page.Append("</svg></div>\n");
        AppendNumbers(page, matrix);
    }

    private static void AppendCell(StringBuilder page, HeatMatrix matrix, int row, int column, int x, int y)
    {
        double value = matrix.Value(row, column);
        string name = $"{matrix.Rows[row]}, {matrix.ColumnName} {matrix.Columns[column]}: {Number(value)} {matrix.Unit}";
        string style = value < 0 ? "cell less" : "cell";
        double opacity = double.IsFinite(value) ? Math.Clamp(0.04 + (Math.Abs(value) / matrix.Full), 0.04, 1) : 0;
        page.Append(CultureInfo.InvariantCulture, $"<rect class=\"{style}\" x=\"{x}\" y=\"{y}\" width=\"{CellSize - Gap}\" height=\"{CellSize - Gap}\" style=\"opacity:{opacity:0.##}\"><title>{Html.Text(name)}</title></rect>");
    }

    private static void AppendNumbers(StringBuilder page, HeatMatrix matrix)
    {
        if (matrix.Rows.Count * matrix.Columns.Count > LongestTable)
        {
            return;
        }

        page.Append(CultureInfo.InvariantCulture, $"<details><summary>The numbers</summary><div class=\"scroll\"><table class=\"dense\"><caption class=\"soft\">{Html.Text(matrix.Title)}, {Html.Text(matrix.Unit)}</caption><tr><th></th>");
        foreach (string column in matrix.Columns)
        {
            page.Append(CultureInfo.InvariantCulture, $"<th class=\"number\">{Html.Text(column)}</th>");
        }

        for (int row = 0; row < matrix.Rows.Count; row++)
        {
            page.Append(CultureInfo.InvariantCulture, $"</tr>\n<tr><th>{Html.Text(matrix.Rows[row])}</th>");
            for (int column = 0; column < matrix.Columns.Count; column++)
            {
                page.Append(CultureInfo.InvariantCulture, $"<td class=\"number\">{Number(matrix.Value(row, column))}</td>");
            }
        }

        page.Append("</tr></table></div></details>\n");
    }

    private static string Number(double value) => double.IsFinite(value) ? value.ToString("0.##", CultureInfo.InvariantCulture) : "-";
}

/// <summary>A matrix with names.</summary>
/// <param name="Title">What it shows.</param>
/// <param name="Unit">What its numbers are.</param>
/// <param name="ColumnName">What a column is: expert, domain.</param>
/// <param name="Rows">Names of the rows.</param>
/// <param name="Columns">Names of the columns.</param>
/// <param name="Full">Value of the darkest colour.</param>
/// <param name="Value">Value of a row and a column; negative ones have another colour.</param>
internal sealed record HeatMatrix(string Title, string Unit, string ColumnName, IReadOnlyList<string> Rows, IReadOnlyList<string> Columns, double Full, Func<int, int, double> Value);
