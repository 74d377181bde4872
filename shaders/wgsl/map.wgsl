// y = an expression of operands that are read by strides, element by element. An invocation computes one vec4.
#import shape
#import elementary
#import each_element

#for o OPERANDS
#elements x$o $($o + 2)
#endfor
// How many axes there are, where they begin here, of each operand its first element and the elements from one sample to the next, then the
// expression's numbers; then of each axis, innermost first, its size and the stride of each operand.
@group(0) @binding($(OPERANDS + 2)) var<storage, read> table: array<i32>;
#output y $(OPERANDS + 3)

// How operands are read, two bits each: four elements, one that serves all four, or a vec4. Bit 31: no operand needs an index of each element.
override KIND: u32 = 0u;

fn number(i: u32) -> vec4f {
    return vec4f(bitcast<f32>(table[$(OPERANDS * 2 + 2)u + i]));
}

// The host puts its expression in the place of this one's last line.
fn expression(
#for o OPERANDS
    o$o: vec4f,
#endfor
) -> vec4f {
    return o0;
}

#for o OPERANDS
fn whole$o(at: u32) -> vec4f {
    if ((KIND >> $($o * 2)u) & 3u) == 1u {
        return vec4f(x$o_element(at));
    }
    return x$o_at(at >> 2u);
}

fn each$o(at: vec4u) -> vec4f {
    if ((KIND >> $($o * 2)u) & 3u) == 0u {
        return vec4f(x$o_element(at.x), x$o_element(at.y), x$o_element(at.z), x$o_element(at.w));
    }
    return whole$o(at.x);
}

#endfor
fn compute(sample: u32, n: vec4u, place: vec4u) -> vec4f {
    let first_axis = u32(table[1]);
    let last_axis = first_axis + u32(table[0] - 1) * $(OPERANDS + 1)u;
    if (KIND >> 31u) != 0u {
        return expression_of_four(sample, n.x, first_axis, last_axis);
    }
    var left = n;
#for o OPERANDS
    var at$o = vec4i(table[$($o * 2 + 2)]);
#endfor
    for (var axis = first_axis; axis < last_axis; axis += $(OPERANDS + 1)u) {
        let size = vec4u(u32(table[axis]));
        let rest = left / size;
        let index = vec4i(left - rest * size);
        left = rest;
#for o OPERANDS
        at$o += index * table[axis + $($o + 1)u];
#endfor
    }
    return expression(
#for o OPERANDS
        each$o(vec4u(sample * u32(table[$($o * 2 + 3)])) + vec4u(at$o + vec4i(left) * table[last_axis + $($o + 1)u])),
#endfor
    );
}

// Where all four elements follow from the first one's index.
fn expression_of_four(sample: u32, n: u32, first_axis: u32, last_axis: u32) -> vec4f {
    var left = n;
#for o OPERANDS
    var at$o = table[$($o * 2 + 2)];
#endfor
    for (var axis = first_axis; axis < last_axis; axis += $(OPERANDS + 1)u) {
        let size = u32(table[axis]);
        let rest = left / size;
        let index = i32(left - rest * size);
        left = rest;
#for o OPERANDS
        at$o += index * table[axis + $($o + 1)u];
#endfor
    }
    return expression(
#for o OPERANDS
        whole$o(sample * u32(table[$($o * 2 + 3)]) + u32(at$o + i32(left) * table[last_axis + $($o + 1)u])),
#endfor
    );
}
