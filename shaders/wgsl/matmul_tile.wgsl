// y[..., m, n] = the sum over k of a[..., m, k] * b[..., k, n], both read by strides. A workgroup computes TILE * TILE elements of one product:
// it brings SLICE columns of a and rows of b to its own memory, of which each of its 8 * 8 invocations computes every 8th row and column.
#import shape

#elements x 2
#elements second 3
// As matmul.wgsl has it.
@group(0) @binding(4) var<storage, read> table: array<i32>;
// Its rows need not begin with a vec4.
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const TILE = $(EACH * 8)u;
const ITEMS = $(EACH * 8 * SLICE)u;

var<workgroup> a_tile: array<f32, ITEMS>;
var<workgroup> b_tile: array<f32, ITEMS>;

// Row (or column) and k of the t-th item of a tile. Neighbouring invocations read what lies side by side: along k, or across.
fn item(t: u32, along: bool) -> vec2u {
    if along {
        return vec2u(t / $(SLICE)u, t % $(SLICE)u);
    }
    return vec2u(t % TILE, t / TILE);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let rows = u32(table[1]);
    let columns = u32(table[2]);
    let inner = u32(table[3]);
    let row_tiles = (rows + TILE - 1u) / TILE;
    let column_tiles = (columns + TILE - 1u) / TILE;
    let index = group.y * groups.x + group.x;
    let product = index / (row_tiles * column_tiles);
    // As many products as a sample has.
    let sample = product / shape.column_groups;
    if sample >= run.rows {
        return;
    }
    let batch = product - sample * shape.column_groups;
    let tile = index - product * row_tiles * column_tiles;
    let m0 = tile / column_tiles * TILE;
    let n0 = tile % column_tiles * TILE;
    var left = batch;
    var a_at = table[4];
    var b_at = table[8];
    for (var axis = 0u; axis < u32(table[0]); axis++) {
        let size = u32(table[12u + 3u * axis]);
        let rest = left / size;
        let at = i32(left - rest * size);
        left = rest;
        a_at += at * table[13u + 3u * axis];
        b_at += at * table[14u + 3u * axis];
    }
    let a_start = sample * u32(table[5]);
    let b_start = sample * u32(table[9]);
    let a_along = (shape.flags & 8u) != 0u;
    let b_along = (shape.flags & 16u) != 0u;
    let ty = local / 8u;
    let tx = local % 8u;
#for m EACH
#for n EACH
    var sum$m_$n = 0.0;
#endfor
#endfor
    for (var k0 = 0u; k0 < inner; k0 += $(SLICE)u) {
        for (var t = local; t < ITEMS; t += WG) {
            let i = item(t, a_along);
            var value = 0.0;
            if m0 + i.x < rows && k0 + i.y < inner {
                value = x_element(a_start + u32(a_at + i32(m0 + i.x) * table[6] + i32(k0 + i.y) * table[7]));
            }
            a_tile[i.y * TILE + i.x] = value;
            let j = item(t, b_along);
            value = 0.0;
            if n0 + j.x < columns && k0 + j.y < inner {
                value = second_element(b_start + u32(b_at + i32(k0 + j.y) * table[10] + i32(n0 + j.x) * table[11]));
            }
            b_tile[j.y * TILE + j.x] = value;
        }
        workgroupBarrier();
        // A slice by itself, so that the rounding of a long sum grows with the root of its length.
#for m EACH
#for n EACH
        var part$m_$n = 0.0;
#endfor
#endfor
        for (var k = 0u; k < $(SLICE)u; k++) {
#for m EACH
            let a$m = a_tile[k * TILE + ty + $($m * 8)u];
#endfor
#for n EACH
            let b$n = b_tile[k * TILE + tx + $($n * 8)u];
#endfor
#for m EACH
#for n EACH
            part$m_$n += a$m * b$n;
#endfor
#endfor
        }
#for m EACH
#for n EACH
        sum$m_$n += part$m_$n;
#endfor
#endfor
        workgroupBarrier();
    }
    let y_start = sample * shape.output_stride4 * 4u;
    let y_product = y_start + batch * rows * columns;
#for m EACH
#for n EACH
    if m0 + ty + $($m * 8)u < rows && n0 + tx + $($n * 8)u < columns {
        y[y_product + (m0 + ty + $($m * 8)u) * columns + n0 + tx + $($n * 8)u] = sum$m_$n;
    }
#endfor
#endfor
    // The sample's padding.
    if batch == 0u && tile == 0u && shape.outputs + local < shape.output_stride4 * 4u {
        y[y_start + shape.outputs + local] = 0.0;
    }
}
