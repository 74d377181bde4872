// Ends linear and conv: what TM rows × TN vec4s of sums become, where there are such rows and columns.
#for n TN
if column + $n * shape.column_groups < shape.outputs4 {
    #for m TM
    if row + $m < rows {
        y_put((row + $m) * shape.output_stride4 + column$n, epilogue(acc$m_$n + bias[column$n], row + $m, column$n));
    }
    #endfor
}
#endfor
