"""Layers that the vision tower and the Comparison Encoder share."""
from __future__ import annotations
import os
from collections.abc import Sequence
from dataclasses import dataclass
import numpy as np
import onnx_ir as ir
from adcopilot_edge.export.graph import MICROSOFT, GraphBuilder
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.export.windows import WindowGroup
from adcopilot_edge.types import FloatArray

PLAIN_ROPE=os.environ.get("PLAIN_ROPE")
PLAIN_ATT=os.environ.get("PLAIN_ATT")

@dataclass
class Rotary:
    cos: ir.Value; sin: ir.Value; head_dim: int; n: int

def rotate(graph, x, rotary, heads, name):
    d=rotary.head_dim
    if PLAIN_ROPE:
        x=graph.reshape(x,(-1,heads,d),name=f"{name}.h")
        a,b=graph.split(x,(d//2,d//2),axis=-1,name=f"{name}.s")
        c,s=rotary.cos,rotary.sin
        M=lambda p,q,n: graph.op("Mul",[p,q],name=f"{name}.{n}")
        o=graph.op("Concat",[graph.op("Sub",[M(a,c,"m1"),M(b,s,"m2")],name=f"{name}.su"),graph.add(M(b,c,"m3"),M(a,s,"m4"),name=f"{name}.ad")],{"axis":-1},name=f"{name}.c")
        return graph.reshape(o,(-1,heads*d),name=name+".r")
    w=heads*d
    x=graph.reshape(x,(1,-1,w),name=f"{name}.b")
    pos=graph.constant(f"{name}.pos",np.zeros(1,np.int64))
    o=graph.op("RotaryEmbedding",[x,pos,rotary.cos,rotary.sin],{"interleaved":0},name=f"{name}.rot",domain=MICROSOFT)
    return graph.reshape(o,(-1,w),name=name+".r")

def attention(graph,q,k,v,*,groups,heads,width,name):
    sizes=[g.num_patches for g in groups]
    qs,ks,vs=(graph.split(x,sizes,axis=0,name=f"{name}.{n}") for x,n in ((q,"q"),(k,"k"),(v,"v")))
    outs=[]
    for i,(g,a,b,c) in enumerate(zip(groups,qs,ks,vs)):
        nm=f"{name}.g{i}"
        d=width//heads
        if PLAIN_ATT:
            a,b,c=(graph.reshape(x,(g.count,-1,heads,d),name=f"{nm}.{n}r") for x,n in ((a,"q"),(b,"k"),(c,"v")))
            a=graph.op("Transpose",[a],{"perm":[0,2,1,3]},name=nm+".qt")
            b=graph.op("Transpose",[b],{"perm":[0,2,3,1]},name=nm+".kt")
            c=graph.op("Transpose",[c],{"perm":[0,2,1,3]},name=nm+".vt")
            a=graph.op("Mul",[a,graph.constant(nm+".scale",np.array(d**-0.5,np.float32))],name=nm+".sc")
            s=graph.op("Softmax",[graph.op("MatMul",[a,b],name=nm+".mm")],{"axis":-1},name=nm+".sm")
            o=graph.op("MatMul",[s,c],name=nm+".mm2")
            o=graph.op("Transpose",[o],{"perm":[0,2,1,3]},name=nm+".ot")
        else:
            a,b,c=(graph.reshape(x,(g.count,-1,width),name=f"{nm}.{n}r") for x,n in ((a,"q"),(b,"k"),(c,"v")))
            o=graph.op("MultiHeadAttention",[a,b,c],{"num_heads":heads},name=nm+".mha",domain=MICROSOFT)
        outs.append(graph.reshape(o,(-1,width),name=nm+".or"))
    if len(outs)==1: return outs[0]
    return graph.op("Concat",outs,{"axis":0},name=name+".cat")

def swiglu(graph,x,gate_up,down,form):
    h=form.apply(graph,x,gate_up)
    n=gate_up.shape[0]//2
    g,u=graph.split(h,(n,n),axis=-1,name=gate_up.name+".split")
    s=graph.op("Sigmoid",[g],name=gate_up.name+".sig")
    g=graph.op("Mul",[g,s],name=gate_up.name+".silu")
    h=graph.op("Mul",[g,u],name=gate_up.name+".prod")
    return form.apply(graph,h,down)
