/* Graphs: works and what each depends on. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

trcpu_graph *trcpu_graph_new(void) {
    trcpu_graph *graph = calloc(1, sizeof *graph);
    if (graph && !(graph->handle = trcpu_handle_new(TRCPU_GRAPH, graph))) {
        free(graph);
        graph = NULL;
    }
    return graph;
}

static void delete_node(trcpu_node *node) {
    if (node->handle) trcpu_handle_delete(node->handle);
    if (node->child) trcpu_graph_delete(node->child);
    trcpu_work_release(node->work);
    free(node->after);
    free(node);
}

void trcpu_graph_delete(trcpu_graph *graph) {
    for (size_t i = 0; i < graph->node_count; i++) delete_node(graph->nodes[i]);
    trcpu_handle_delete(graph->handle);
    trcpu_keep_release(graph->keep);
    free(graph->nodes);
    free(graph);
}

static bool make_room(trcpu_graph *graph) {
    if (graph->node_count < graph->node_room) return true;
    size_t room = graph->node_room ? 2 * graph->node_room : 16;
    trcpu_node **nodes = realloc(graph->nodes, room * sizeof *nodes);
    if (!nodes) return false;
    graph->nodes = nodes;
    graph->node_room = room;
    return true;
}

CUresult trcpu_graph_add(trcpu_graph *graph, CUgraphNodeType type, trcpu_node *const *after, size_t count,
                         trcpu_work *work, trcpu_node **out) {
    trcpu_node *node = calloc(1, sizeof *node);
    if (node) node->after = malloc((count + 1) * sizeof *node->after);
    if (!node || !node->after || !make_room(graph) || !(node->handle = trcpu_handle_new(TRCPU_NODE, node))) {
        if (node) free(node->after);
        free(node);
        trcpu_work_release(work);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    node->graph = graph;
    node->type = type;
    node->work = work;
    node->after_count = count;
    if (count) memcpy(node->after, after, count * sizeof *after);
    node->index = graph->node_count;
    graph->nodes[graph->node_count++] = node;
    *out = node;
    return CUDA_SUCCESS;
}

CUresult trcpu_nodes_find(const CUgraphNode *handles, size_t count, const trcpu_graph *graph,
                          trcpu_node ***out) {
    if (count && !handles) return CUDA_ERROR_INVALID_VALUE;
    trcpu_node **nodes = malloc((count + 1) * sizeof *nodes);
    if (!nodes) return CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++) {
        nodes[i] = trcpu_handle_find(TRCPU_NODE, handles[i]);
        bool good = nodes[i] && nodes[i]->graph == graph;
        for (size_t k = 0; k < i && good; k++) good = nodes[k] != nodes[i];
        if (!good) {
            free(nodes);
            return CUDA_ERROR_INVALID_VALUE;
        }
    }
    *out = nodes;
    return CUDA_SUCCESS;
}

/* Nodes are copied in the order they were added, so what a node depends on may come later only if a
   dependency was added afterwards: therefore in two rounds. */
trcpu_graph *trcpu_graph_clone(const trcpu_graph *graph) {
    trcpu_graph *clone = trcpu_graph_new();
    CUresult result = clone ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < graph->node_count && !result; i++) {
        const trcpu_node *node = graph->nodes[i];
        trcpu_node *copy = NULL;
        result = trcpu_graph_add(clone, node->type, node->after, node->after_count,
                                 trcpu_work_retain(node->work), &copy);
        if (result) break;
        copy->original = node->handle;
        copy->child = node->child ? trcpu_graph_clone(node->child) : NULL;
        if (node->child && !copy->child)
            result = CUDA_ERROR_OUT_OF_MEMORY;
        else if (copy->child)
            copy->child->owned = true;
    }
    if (result) {
        if (clone) trcpu_graph_delete(clone);
        return NULL;
    }
    for (size_t i = 0; i < clone->node_count; i++)
        for (size_t k = 0; k < clone->nodes[i]->after_count; k++)
            clone->nodes[i]->after[k] = clone->nodes[graph->nodes[i]->after[k]->index];
    clone->keep = trcpu_keep_retain(graph->keep);
    return clone;
}

/* ---- the calls ---- */
CUresult cuGraphCreate(CUgraph *out, unsigned int flags) {
    CUresult result = trcpu_enter();
    if (result) return result;
    if (!out || flags) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_graph *graph = trcpu_graph_new();
    if (!graph) return trcpu_leave(CUDA_ERROR_OUT_OF_MEMORY);
    *out = graph->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

/* Enters, and finds the graph. */
static CUresult enter_graph(CUgraph handle, trcpu_graph **graph) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *graph = trcpu_handle_find(TRCPU_GRAPH, handle);
    return *graph ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuGraphDestroy(CUgraph handle) {
    trcpu_graph *graph;
    CUresult result = enter_graph(handle, &graph);
    if (result) return result;
    if (graph->owned || graph->capturing) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    trcpu_graph_delete(graph);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphClone(CUgraph *out, CUgraph handle) {
    trcpu_graph *graph;
    CUresult result = enter_graph(handle, &graph);
    if (result) return result;
    trcpu_graph *clone = out ? trcpu_graph_clone(graph) : NULL;
    if (!clone) return trcpu_leave(out ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE);
    *out = clone->handle;
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphNodeFindInClone(CUgraphNode *out, CUgraphNode original_handle, CUgraph clone_handle) {
    trcpu_graph *clone;
    CUresult result = enter_graph(clone_handle, &clone);
    if (result) return result;
    for (size_t i = 0; out && i < clone->node_count; i++)
        if (clone->nodes[i]->original == original_handle) {
            *out = clone->nodes[i]->handle;
            return trcpu_leave(CUDA_SUCCESS);
        }
    return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

/* ---- lists: with no array the count is told; a longer array is filled up with NULL ---- */
static void tell(trcpu_node *const *nodes, size_t total, CUgraphNode *out, size_t *count) {
    for (size_t i = 0; out && i < *count; i++) out[i] = i < total ? nodes[i]->handle : NULL;
    if (!out || *count > total) *count = total;
}

CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
    trcpu_graph *graph;
    CUresult result = enter_graph(handle, &graph);
    if (result) return result;
    if (!count) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    tell(graph->nodes, graph->node_count, nodes, count);
    return trcpu_leave(CUDA_SUCCESS);
}

typedef bool trcpu_choice(const trcpu_node *node, const trcpu_node *of);

static bool is_root(const trcpu_node *node, const trcpu_node *of) {
    return node->after_count == 0;
}

static bool depends_on(const trcpu_node *node, const trcpu_node *of) {
    for (size_t i = 0; i < node->after_count; i++)
        if (node->after[i] == of) return true;
    return false;
}

static CUresult tell_chosen(const trcpu_graph *graph, trcpu_choice *choose, const trcpu_node *of,
                            CUgraphNode *out, size_t *count) {
    if (!count) return CUDA_ERROR_INVALID_VALUE;
    trcpu_node **chosen = malloc((graph->node_count + 1) * sizeof *chosen);
    if (!chosen) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t total = 0;
    for (size_t i = 0; i < graph->node_count; i++)
        if (choose(graph->nodes[i], of)) chosen[total++] = graph->nodes[i];
    tell(chosen, total, out, count);
    free(chosen);
    return CUDA_SUCCESS;
}

CUresult cuGraphGetRootNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
    trcpu_graph *graph;
    CUresult result = enter_graph(handle, &graph);
    return result ? result : trcpu_leave(tell_chosen(graph, is_root, NULL, nodes, count));
}

static CUresult enter_node(CUgraphNode handle, trcpu_node **node) {
    CUresult result = trcpu_enter();
    if (result) return result;
    *node = trcpu_handle_find(TRCPU_NODE, handle);
    return *node ? CUDA_SUCCESS : trcpu_leave(CUDA_ERROR_INVALID_VALUE);
}

/* Edges carry no data here: a dependency is always on the whole node. */
static void clear_edges(CUgraphEdgeData *edges, size_t count) {
    if (edges) memset(edges, 0, count * sizeof *edges);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode handle, CUgraphNode *dependencies, CUgraphEdgeData *edges,
                                       size_t *dependency_count) {
    trcpu_node *node;
    CUresult result = enter_node(handle, &node);
    if (result) return result;
    if (!dependency_count) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    tell(node->after, node->after_count, dependencies, dependency_count);
    clear_edges(edges, *dependency_count);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *dependencies, size_t *dependency_count) {
    return cuGraphNodeGetDependencies_v2(node, dependencies, NULL, dependency_count);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode handle, CUgraphNode *nodes, CUgraphEdgeData *edges,
                                         size_t *count) {
    trcpu_node *node;
    CUresult result = enter_node(handle, &node);
    if (result) return result;
    result = tell_chosen(node->graph, depends_on, node, nodes, count);
    if (!result) clear_edges(edges, *count);
    return trcpu_leave(result);
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *nodes, size_t *count) {
    return cuGraphNodeGetDependentNodes_v2(node, nodes, NULL, count);
}

CUresult cuGraphGetEdges_v2(CUgraph handle, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *edges,
                            size_t *count) {
    trcpu_graph *graph;
    CUresult result = enter_graph(handle, &graph);
    if (result) return result;
    if (!count || !from != !to) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    size_t total = 0, room = from ? *count : 0;
    for (size_t i = 0; i < graph->node_count; i++)
        for (size_t k = 0; k < graph->nodes[i]->after_count; k++, total++)
            if (total < room) {
                from[total] = graph->nodes[i]->after[k]->handle;
                to[total] = graph->nodes[i]->handle;
            }
    for (size_t i = total; i < room; i++) from[i] = to[i] = NULL;
    if (!from || *count > total) *count = total;
    clear_edges(edges, room);
    return trcpu_leave(CUDA_SUCCESS);
}

CUresult cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count) {
    return cuGraphGetEdges_v2(graph, from, to, NULL, count);
}

CUresult cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType *type) {
    trcpu_node *node;
    CUresult result = enter_node(handle, &node);
    if (result) return result;
    if (!type) return trcpu_leave(CUDA_ERROR_INVALID_VALUE);
    *type = node->type;
    return trcpu_leave(CUDA_SUCCESS);
}

/* ---- changing what depends on what ---- */
static CUresult add_edge(trcpu_node *from, trcpu_node *to) {
    if (from == to || depends_on(to, from)) return CUDA_ERROR_INVALID_VALUE;
    trcpu_node **after = realloc(to->after, (to->after_count + 2) * sizeof *after);
    if (!after) return CUDA_ERROR_OUT_OF_MEMORY;
    to->after = after;
    to->after[to->after_count++] = from;
    return CUDA_SUCCESS;
}

static bool remove_edge(const trcpu_node *from, trcpu_node *to) {
    for (size_t i = 0; i < to->after_count; i++)
        if (to->after[i] == from) {
            to->after_count--;
            memmove(to->after + i, to->after + i + 1, (to->after_count - i) * sizeof *to->after);
            return true;
        }
    return false;
}

static CUresult change_edges(CUgraph handle, const CUgraphNode *from, const CUgraphNode *to, size_t count,
                             bool add) {
    trcpu_graph *graph;
    CUresult result = enter_graph(handle, &graph);
    if (result) return result;
    for (size_t i = 0; i < count && !result; i++) {
        trcpu_node *first = from ? trcpu_handle_find(TRCPU_NODE, from[i]) : NULL;
        trcpu_node *second = to ? trcpu_handle_find(TRCPU_NODE, to[i]) : NULL;
        if (!first || !second || first->graph != graph || second->graph != graph)
            result = CUDA_ERROR_INVALID_VALUE;
        else if (add)
            result = add_edge(first, second);
        else if (!remove_edge(first, second))
            result = CUDA_ERROR_INVALID_VALUE;
    }
    return trcpu_leave(result);
}

CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count) {
    return change_edges(graph, from, to, count, true);
}

CUresult cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                   const CUgraphEdgeData *edges, size_t count) {
    return change_edges(graph, from, to, count, true);
}

CUresult cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                   size_t count) {
    return change_edges(graph, from, to, count, false);
}

CUresult cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                      const CUgraphEdgeData *edges, size_t count) {
    return change_edges(graph, from, to, count, false);
}

CUresult cuGraphDestroyNode(CUgraphNode handle) {
    trcpu_node *node;
    CUresult result = enter_node(handle, &node);
    if (result) return result;
    trcpu_graph *graph = node->graph;
    if (graph->owned || graph->capturing) return trcpu_leave(CUDA_ERROR_NOT_SUPPORTED);
    for (size_t i = 0; i < graph->node_count; i++) remove_edge(node, graph->nodes[i]);
    graph->node_count--;
    for (size_t i = node->index; i < graph->node_count; i++) {
        graph->nodes[i] = graph->nodes[i + 1];
        graph->nodes[i]->index = i;
    }
    delete_node(node);
    return trcpu_leave(CUDA_SUCCESS);
}
