"""What is sent where there is nothing to show: the smallest documents that DevTools opens (errors hang its panels)."""

from __future__ import annotations

_FRAME = '{"functionName":"%s","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1}'

# ``Profiler.Profile``: a millisecond of idling.
CPU_PROFILE = (
    '{"nodes":['
    f'{{"id":1,"callFrame":{_FRAME % "(root)"},"hitCount":0,"children":[2]}},'
    f'{{"id":2,"callFrame":{_FRAME % "(idle)"},"hitCount":2,"children":[]}}'
    '],"startTime":1000,"endTime":2001,"samples":[2,2],"timeDeltas":[0,1000]}'
)

# ``HeapProfiler.SamplingHeapProfile``
ALLOCATION_PROFILE = f'{{"head":{{"callFrame":{_FRAME % "(root)"},"selfSize":0,"id":1,"children":[]}},"samples":[]}}'

# A V8 heap snapshot that holds its root and nothing else.
HEAP_SNAPSHOT = (
    '{"snapshot":{"meta":{"node_fields":["type","name","id","self_size","edge_count"],'
    '"node_types":[["hidden","array","string","object","code","closure","regexp","number","native","synthetic"],'
    '"string","number","number","number"],"edge_fields":["type","name_or_index","to_node"],'
    '"edge_types":[["context","element","property","internal","hidden","shortcut","weak"],"string_or_number","node"]},'
    '"node_count":2,"edge_count":1,"trace_function_count":0},\n'
    '"nodes":[9,0,1,0,1\n,9,1,3,0,0],\n"edges":[1,1,5],\n"strings":["",\n"(GC roots)"]}\n'
)
