// y[M, N] = act((x[M, K] · Vᵀ) · U'ᵀ + b) in one dispatch: a workgroup owns TM rows and keeps their intermediate, h, in
// workgroup memory. A task is BM rows × one vec4, in both stages, so that each weight that is loaded serves BM rows.
// KS > 1 cuts the sum over K in KS slices: with few rows there is not enough else to do for all invocations.
#import shape
#import epilogue

@group(0) @binding(2) var<storage, read> x: array<vec4f>;
// [K padded to 4][rank / 4]
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
// [rank padded to 4][N / 4]
@group(0) @binding(4) var<storage, read> u: array<vec4f>;
@group(0) @binding(5) var<storage, read> bias: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;

// [KS][TM][rank / 4], packed to the layer's own rank; R4 is the most that fits.
var<workgroup> h: array<vec4f, KS * TM * R4>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let first = (group.y * groups.x + group.x) * TM;
    let rank4 = shape.rank4;
    let slice = (shape.inputs4 + KS - 1) / KS;
    for (var task = local; task < KS * (TM / BM) * rank4; task += WG) {
        let rest = task / rank4;
        let r = task - rest * rank4;
        let part = rest / (TM / BM);
        let block = rest - part * (TM / BM);
        #for m BM
        let x_row$m = min(first + block * BM + $m, run.rows - 1) * shape.input_stride4;
        var acc$m = vec4f(0.0);
        #endfor
        let end = min((part + 1) * slice, shape.inputs4);
        for (var k = part * slice; k < end; k++) {
            let v_row = k * 4u * rank4 + r;
            let v0 = v[v_row];
            let v1 = v[v_row + rank4];
            let v2 = v[v_row + 2u * rank4];
            let v3 = v[v_row + 3u * rank4];
            #for m BM
            let x$m = x[x_row$m + k];
            acc$m += x$m.x * v0;
            acc$m += x$m.y * v1;
            acc$m += x$m.z * v2;
            acc$m += x$m.w * v3;
            #endfor
        }
        #for m BM
        h[(part * TM + block * BM + $m) * rank4 + r] = acc$m;
        #endfor
    }
    workgroupBarrier();
    #ifdef SPLIT
    for (var i = local; i < TM * rank4; i += WG) {
        var sum = h[i];
        for (var part = 1u; part < KS; part++) {
            sum += h[part * TM * rank4 + i];
        }
        h[i] = sum;
    }
    workgroupBarrier();
    #endif
    for (var task = local; task < (TM / BM) * shape.outputs4; task += WG) {
        let block = task / shape.outputs4;
        let column = task - block * shape.outputs4;
        let row = first + block * BM;
        if row >= run.rows {
            continue;
        }
        #for m BM
        var acc$m = vec4f(0.0);
        #endfor
        for (var r = 0u; r < rank4; r++) {
            let u_row = r * 4u * shape.outputs4 + column;
            let u0 = u[u_row];
            let u1 = u[u_row + shape.outputs4];
            let u2 = u[u_row + 2u * shape.outputs4];
            let u3 = u[u_row + 3u * shape.outputs4];
            #for m BM
            let h$m = h[(block * BM + $m) * rank4 + r];
            acc$m += h$m.x * u0;
            acc$m += h$m.y * u1;
            acc$m += h$m.z * u2;
            acc$m += h$m.w * u3;
            #endfor
        }
        #for m BM
        if row + $m < run.rows {
            y[(row + $m) * shape.output_stride4 + column] = epilogue(acc$m, column);
        }
        #endfor
    }
}
