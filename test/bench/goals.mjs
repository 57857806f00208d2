// What the figures are to be, and beside whom. `ours` names our variant of a workload (see moonmesh.mjs), `peer` those of others that count, of which
// the best is taken. `factor`: ours is to be at most (of times and sizes) or at least (of rates) so many times theirs. Without `peer` it is the
// limit itself, in the figure's unit.

const ERLANG = /^erlang/
const ETCD = /^etcd/
const SERF = /^serf/
const PUC = /^lua5\.3/

export const GOALS = [
  { workload: 'W1', metric: 'hop', limit: 1000 },
  { workload: 'W3', metric: 'spawns', limit: 100_000 },
  { workload: 'W3', metric: 'heap_per_idle_actor', limit: 2800 },
  { workload: 'W5', metric: 'geometric mean', ours: 'moonmesh, lua.jit: false', peer: PUC, factor: 1.3 },
  { workload: 'W5', metric: 'geometric mean', peer: PUC, factor: 0.8 },
  {
    workload: 'W5',
    metric: 'geometric mean, warm',
    ours: 'moonmesh, lua.jit: false',
    peer: PUC,
    theirs: 'geometric mean',
    factor: 1.3,
  },
  { workload: 'W5', metric: 'geometric mean, warm', peer: PUC, theirs: 'geometric mean', factor: 0.8 },
  { workload: 'W6', metric: 'one_way_messages', ours: 'moonmesh/lua', peer: ERLANG, factor: 1 },
  { workload: 'W6', metric: 'round_trip_p50', ours: 'moonmesh/lua', peer: ERLANG, factor: 1.5 },
  { workload: 'W7', metric: 'lua_put_64_clients', peer: ETCD, theirs: 'put_64_clients', factor: 1 },
  { workload: 'W7', metric: 'admin_put_64_clients', peer: ETCD, theirs: 'put_64_clients', factor: 1 },
  {
    workload: 'W7',
    metric: 'lua_linearizable_read_64_clients',
    peer: ETCD,
    theirs: 'linearizable_read_64_clients',
    factor: 1,
  },
  {
    workload: 'W7',
    metric: 'admin_linearizable_read_64_clients',
    peer: ETCD,
    theirs: 'linearizable_read_64_clients',
    factor: 1,
  },
  { workload: 'W7', metric: 'lua_put_1_client_p50', peer: ETCD, theirs: 'put_1_client_p50', factor: 1.25 },
  { workload: 'W8', metric: 'cycles', peer: ETCD, factor: 2 },
  { workload: 'W9', metric: 'deliveries', peer: ERLANG, factor: 0.5 },
  { workload: 'W10', metric: 'registrations', peer: ETCD, factor: 1 },
  { workload: 'W10', metric: 'registrations', peer: ERLANG, factor: 1 },
  { workload: 'W10', metric: 'lookups_local', limit: 1_000_000 },
  { workload: 'W10', metric: 'lookups_other_node', limit: 1_000_000 },
  ...[
    'join_all_see_all',
    'idle_cpu_per_member',
    'idle_bytes_per_member',
    'kill_first_marks_failed',
    'kill_all_mark_failed',
  ].map((metric) => ({ workload: 'W11', metric, ours: 'moonmesh/gossip', peer: SERF, factor: 1 })),
  { workload: 'W12', metric: 'first_message', limit: 500 },
]

/** One line a workload, for whom the peers' descriptions are far away. */
export const WORKLOADS = {
  W1: ['Local ping-pong', 'Two actors of one node, 200,000 round trips one after the other. A hop is one message.'],
  W2: ['Fan-in', '100 actors send 2,000 messages each to one.'],
  W3: [
    'Spawning',
    'One actor spawns 50,000 that each send it a message and end. Memory: what 20,000 waiting actors take, each having handled a message.',
  ],
  W4: ['Ring', 'A token goes 500 times round a ring of 1,000 actors.'],
  W5: [
    'Lua',
    'Six programs, each three times in a fresh machine: calls, arrays, strings, methods, a search, coroutines. Ours run inside an actor; `warm` is the median of the last three of fifteen runs, of a node that has been up for two seconds.',
  ],
  W6: [
    'Two nodes',
    'Two programs on loopback: 20,000 round trips of 100 bytes, and 200,000 messages of 100 bytes one way. `moonmesh/lua` is between actors in Lua, `moonmesh` between actors in TypeScript.',
  ],
  W7: [
    'Replicated writes and reads',
    'Three members, each write on the disks of a majority before it is answered; 1 client and 64. `lua_` is the module `store` in a process on the leader, `admin_` a program that talks to the admin interface, without prefix the log alone, called in the leader.',
  ],
  W8: [
    'Locks',
    'One process takes and gives back one lock, on three nodes. `two_writes` is two writes to the store, the least a cycle takes; the floor is two writes of three bare programs of Node.js that only write, sync and answer.',
  ],
  W9: ['Groups', '10,000 processes on three nodes join one group; broadcasts of 100 bytes to a group of 1,000.'],
  W10: [
    'Names',
    'One process registers 2,000 names for others, one after the other, on three nodes; then looks them up.',
  ],
  W11: [
    'Twenty nodes',
    'Twenty programs: all join one, rest, and three are killed. `moonmesh/gossip` is membership alone, as serf is; `moonmesh` has the links of real nodes between all.',
  ],
  W12: ['Cold start', 'From the start of the command to the first message that the first actor of an app has handled.'],
}

/** Of growth.mjs. */
export const GROWTH_PARTS = ['processes', 'names', 'members', 'nodes', 'gossip', 'leading']
