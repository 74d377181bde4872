// Ends low_rank_registers and conv_low_rank_registers, after their first stage: y = act(h · U'ᵀ + b + r) for
// the rows from `row` on, h in registers.
for (var column = 0u; column < shape.outputs4; column++) {
    let u_column = column / PANEL * R4 * 4u * PANEL + column % PANEL;
    #for m BM
    var acc$m = bias[column];
    #endfor
    #for r R4
    {
        let u_row = u_column + $r * 4u * PANEL;
        let u0 = u_at(u_row);
        let u1 = u_at(u_row + PANEL);
        let u2 = u_at(u_row + 2u * PANEL);
        let u3 = u_at(u_row + 3u * PANEL);
        #for m BM
        acc$m += h$m_$r.x * u0;
        acc$m += h$m_$r.y * u1;
        acc$m += h$m_$r.z * u2;
        acc$m += h$m_$r.w * u3;
        #endfor
    }
    #endfor
    #for m BM
    if row + $m < rows {
        y_put((row + $m) * shape.output_stride4 + column, epilogue(acc$m, row + $m, column));
    }
    #endfor
}
