// Inputs one after the other along an axis: blocks of each in turn, again and again. An invocation computes one vec4.
#import shape
#import each_element

#for i INPUTS
#elements x$i $($i + 2)
#endfor
// Elements of one turn of all inputs; of each input where its block begins within a turn, its elements of a turn, and from one sample to the next.
@group(0) @binding($(INPUTS + 2)) var<storage, read> table: array<i32>;
#output y $(INPUTS + 3)

fn compute(sample: u32, n: vec4u, place: vec4u) -> vec4f {
    let round = u32(table[0]);
    let turn = place / vec4u(round);
    let within = place - turn * round;
    var out = vec4f(0.0);
#for i INPUTS
    {
        let begin = u32(table[$($i * 3 + 1)]);
        let block = u32(table[$($i * 3 + 2)]);
        // Before the block it wraps round, beyond its end.
        let here = within - vec4u(begin) < vec4u(block);
        if any(here) {
            let source = vec4u(sample * u32(table[$($i * 3 + 3)])) + select(vec4u(0u), turn * block + within - vec4u(begin), here);
            // Blocks of whole vec4s.
            if (shape.flags & 1u) != 0u {
                return x$i_at(source.x >> 2u);
            }
            out = select(out, vec4f(x$i_element(source.x), x$i_element(source.y), x$i_element(source.z), x$i_element(source.w)), here);
        }
    }
#endfor
    return out;
}
