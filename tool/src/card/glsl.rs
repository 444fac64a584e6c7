// SPDX-License-Identifier: MPL-2.0
//! The same card as a pixel shader for TouchDesigner's GLSL TOP.

use super::{BOTTOM, COLUMNS, PATCHES, ROWS, TINT, TOP};

/// The shader's text. `uFrame`, a uniform that may be left out, is the frame's number.
pub fn text() -> String {
    let [red, green, blue] = TINT;
    format!(
        "\
// tdlink's test card, for a GLSL TOP (pixel shader). 8-bit fixed (RGBA) or any deeper Pixel Format.
// `tdlink doctor NAME` reads what arrives and names the fault.
// Optional: a uniform uFrame (Vectors page) with absTime.frame, which makes frames tell themselves apart.
uniform float uFrame;
out vec4 fragColor;

float bitOf(uint word, int column)
{{
    return float((word >> uint({last} - column)) & 1u);
}}

void main()
{{
    // vUV.t goes up; the card counts its rows from the top.
    int column = clamp(int(vUV.s * {COLUMNS}.0), 0, {last});
    int row = clamp(int((1.0 - vUV.t) * {ROWS}.0), 0, {last_row});
    int patchOf = column * {PATCHES} / {COLUMNS};
    vec4 color;
    if (row == 0) {{
        color = vec4(vec3(bitOf({TOP}u, column)), 1.0);
    }} else if (row <= 2) {{
        color = vec4(1.0 - float((patchOf >> 1) & 1), 1.0 - float((patchOf >> 2) & 1), 1.0 - float(patchOf & 1), 1.0);
    }} else if (row <= 4) {{
        color = vec4(vec3(float(column) / {last}.0), 1.0);
    }} else if (row <= 6) {{
        color = vec4({red:?}, {green:?}, {blue:?}, float({last_patch} - patchOf) / {last_patch}.0);
    }} else if (row == 7) {{
        color = vec4(vec3(bitOf(uint(uFrame) & 0xFFFFu, column)), 1.0);
    }} else {{
        color = vec4(vec3(bitOf({BOTTOM}u, column)), 1.0);
    }}
    fragColor = TDOutputSwizzle(color);
}}
",
        last = COLUMNS - 1,
        last_row = ROWS - 1,
        last_patch = PATCHES - 1,
    )
}
