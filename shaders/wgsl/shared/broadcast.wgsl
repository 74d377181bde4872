// What one lane holds, for others.

fn broadcast(value: vec4f, lane: u32) -> vec4f {
    return vec4f(
        subgroupShuffle(value.x, lane),
        subgroupShuffle(value.y, lane),
        subgroupShuffle(value.z, lane),
        subgroupShuffle(value.w, lane),
    );
}
