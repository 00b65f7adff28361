"""Write the vision tower's graph: patches of one image to features and merged tokens.

The grid is fixed, so the order of the windows and the rotary tables are constants, and attention
needs no mask (``windows.py``).
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graph import GraphBuilder, new_graph
from adcopilot_edge.export.layers import Rotary, attention, swiglu
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.weights import Scope
from adcopilot_edge.export.windows import WindowGroup, patch_rotary, window_layout
from adcopilot_edge.training.config import ADCopilotVisionConfig

_EPS = 1e-6  # of every norm of the tower, fixed in the model's code


def write_vision_graph(
    path: Path, checkpoint: Checkpoint, *, grid: tuple[int, int], form: LinearForm
) -> None:
    """Write ``patches`` (N, 1176) -> ``features`` (N, C), ``tokens`` (N / 4, D) to ``path``.

    Patches and features are in the processor's order, tokens in raster order of the merged cells.
    grid: (rows, columns) of patches.
    """
    config = checkpoint.config.vision_config
    scope = Scope(checkpoint, "visual")
    rows, cols = grid
    num_patches, merged = rows * cols, config.spatial_merge_size**2
    layout = window_layout(
        rows,
        cols,
        merge_size=config.spatial_merge_size,
        window=config.window_size // config.patch_size,
    )
    with new_graph(path) as graph:
        embed = scope.linear("patch_embed.proj")
        patches = graph.input("patches", (num_patches, embed.shape[1]))
        hidden = form.apply(graph, patches, embed)
        hidden = graph.gather_rows(hidden, layout.order, name="to_windows")
        rotary = _rotary(graph, config, grid, layout.order)
        whole = (WindowGroup(1, num_patches),)
        for index in range(config.depth):
            groups = whole if index in config.fullatt_block_indexes else layout.groups
            block = scope.child(f"blocks.{index}")
            hidden = _block(graph, hidden, block, config, rotary, groups, form)
        features = graph.gather_rows(hidden, layout.inverse, name="to_patches")
        tokens = _merge(graph, features, scope.child("merger"), merged, form)
        graph.output(features, "features", (num_patches, config.hidden_size))
        graph.output(tokens, "tokens", (num_patches // merged, config.out_hidden_size))


def _rotary(graph, config, grid, order):
    head_dim=config.hidden_size//config.num_heads
    cos,sin=patch_rotary(*grid,merge_size=config.spatial_merge_size,head_dim=head_dim,theta=config.rope_parameters["rope_theta"])
    cos,sin=cos[order],sin[order]
    from adcopilot_edge.export import layers
    if layers.PLAIN_ROPE: cos,sin=cos[:,None],sin[:,None]
    return Rotary(graph.constant("cos",cos),graph.constant("sin",sin),head_dim,len(order))

def _block(graph,hidden,block,config,rotary,groups,form):
    from adcopilot_edge.export.layers import rotate
    C=config.hidden_size
    p=block.prefix
    x=graph.rms_norm(hidden,block.tensor("norm1.weight"),_EPS,name=p+".norm1")
    qkv=form.apply(graph,x,block.linear("attn.qkv"))
    q,k,v=graph.split(qkv,(C,C,C),axis=-1,name=p+".split")
    q=rotate(graph,q,rotary,config.num_heads,p+".q"); k=rotate(graph,k,rotary,config.num_heads,p+".k")
    a=attention(graph,q,k,v,groups=groups,heads=config.num_heads,width=C,name=p+".att")
    hidden=graph.add(hidden,form.apply(graph,a,block.linear("attn.proj")),name=p+".res1")
    x=graph.rms_norm(hidden,block.tensor("norm2.weight"),_EPS,name=p+".norm2")
    x=swiglu(graph,x,block.linear("mlp.gate_proj","mlp.up_proj"),block.linear("mlp.down_proj"),form)
    return graph.add(hidden,x,name=p+".res2")

def _merge(graph,features,scope,merged,form):
    x=graph.rms_norm(features,scope.tensor("ln_q.weight"),_EPS,name="merger.ln_q")
    l0=scope.linear("mlp.0"); 
    x=graph.reshape(x,(-1,l0.shape[1]),name="merger.cells")
    x=form.apply(graph,x,l0)
    x=graph.op("Gelu",[x],name="merger.gelu")
    return form.apply(graph,x,scope.linear("mlp.2"))
