// Ends low_rank and conv_low_rank, after their first stage: sums what the KS slices of `h` hold, then
// y = act(h · U'ᵀ + b + r) for the rows from `first` on.
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
let column_groups = shape.column_groups;
for (var task = local; task < (TM / BM) * column_groups; task += WG) {
    let block = task / column_groups;
    let column = task - block * column_groups;
    let row = first + block * BM;
    if row >= rows {
        continue;
    }
    #for n BN
    let column$n = min(column + $n * column_groups, shape.outputs4 - 1);
    let u_column$n = column$n / PANEL * rank4 * 4u * PANEL + column$n % PANEL;
    #endfor
    #for m BM
    #for n BN
    var acc$m_$n = vec4f(0.0);
    #endfor
    #endfor
    for (var r = 0u; r < rank4; r++) {
        let u_row = r * 4u * PANEL;
        #for n BN
        let u0_$n = u_at(u_column$n + u_row);
        let u1_$n = u_at(u_column$n + u_row + PANEL);
        let u2_$n = u_at(u_column$n + u_row + 2u * PANEL);
        let u3_$n = u_at(u_column$n + u_row + 3u * PANEL);
        #endfor
        #for m BM
        let h$m = h[(block * BM + $m) * rank4 + r];
        #for n BN
        acc$m_$n += h$m.x * u0_$n;
        acc$m_$n += h$m.y * u1_$n;
        acc$m_$n += h$m.z * u2_$n;
        acc$m_$n += h$m.w * u3_$n;
        #endfor
        #endfor
    }
    #for n BN
    if column + $n * column_groups < shape.outputs4 {
        #for m BM
        if row + $m < rows {
            y_put((row + $m) * shape.output_stride4 + column$n, epilogue(acc$m_$n + bias[column$n], row + $m, column$n));
        }
        #endfor
    }
    #endfor
}
