// `runtime cluster status|members|join|leave|remove|transfer|reset-store|snapshot`: the cluster as a running node sees it, and what an operator
// does about it.

import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join as joinPath } from 'node:path'
import type { Command } from 'commander'
import type { ClusterStatusBody, JoinBody, MemberRow } from '../../admin/shapes.ts'
import { MoonmeshError } from '../../base/errors.ts'
import { ask, findNode, isListening, isRunning, type NodeChoice } from '../client.ts'
import { isTyped } from '../confirm.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'
import { addRepeat, type RepeatOptions, repeated } from '../repeat.ts'
import { addSnapshot } from './snapshot.ts'

type Options = CommonOptions & NodeChoice
type ShownOptions = Options & RepeatOptions

/** Joining waits for as many exchanges as there are addresses. */
const JOIN_MS_MAX = 60_000
/** A graceful stop of a node takes 30 s at most unless its settings say otherwise; this is for those that do. */
const LEAVE_MS_MAX = 10 * 60_000
const LEAVE_POLL_MS = 100
/** The leader may have to be found, and others to agree. */
const ORDER_MS_MAX = 30_000

interface ResetOptions extends CommonOptions {
  readonly node: string
  readonly dataDir: string
  readonly raftDir?: string
  readonly yes?: boolean
}

export function addCluster(cluster: Command, end: (exitCode: number) => void): void {
  cluster.description('the cluster as a running node sees it')
  const command = (name: string, description: string): Command =>
    cluster
      .command(name)
      .description(description)
      .option('--json', 'the result as JSON on standard output')
      .option('--no-color', 'no colours')
      .option('--socket <path>', 'the admin socket of the node')
      .option('--node <name>', 'the node of this name under .runtime/')
      .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
  const show = (options: ShownOptions, once: (output: Output) => Promise<number>): Promise<void> => {
    const output = Output.standard(options)
    return repeated(options, output, () => once(output)).then(end)
  }
  addRepeat(command('status', 'the group of the cluster: who leads, who votes, whether all is well'))
    .option('--leader', 'the name of the leader alone')
    .action((options: ShownOptions & { leader?: boolean }) => show(options, (output) => status(options, output)))
  addRepeat(command('members', 'list every node that is known, in any state')).action((options: ShownOptions) =>
    show(options, (output) => members(options, output)),
  )
  command('join', 'join the cluster through these addresses')
    .argument('<address...>', 'of gossip: host, host:port or name/host:port')
    .action(async (addresses: string[], options: Options) => end(await join(addresses, options)))
  command('leave', 'leave the cluster and stop the node').action(async (options: Options) => end(await leave(options)))
  command('remove', 'take a node that is gone out of the group')
    .argument('<node>', 'its name')
    .option('--force', 'also when it is there; asks on a terminal')
    .action(async (name: string, options: Options & { force?: boolean }) => end(await remove(name, options)))
  command('transfer', 'let another voter lead')
    .argument('[node]', 'who; without it the best one')
    .action(async (to: string | undefined, options: Options) => end(await transfer(to, options)))
  cluster
    .command('reset-store')
    .description('discard the store of a stopped node, so that it joins as a new member')
    .option('--json', 'the result as JSON on standard output')
    .option('--no-color', 'no colours')
    .requiredOption('--node <name>', 'the node')
    .option('--data-dir <directory>', 'its node.data_dir', '.runtime')
    .option('--raft-dir <directory>', 'its cluster.raft.data_dir, when that is set')
    .option('--yes', 'do not ask')
    .action(async (options: ResetOptions) => end(await resetStore(options)))
  addSnapshot(cluster.command('snapshot'), end)
}

async function status(options: Options & { leader?: boolean }, output: Output): Promise<number> {
  const body = await ask<ClusterStatusBody>(await findNode(options), '/v1/raft')
  if (options.leader === true) {
    if (output.isJson) output.json({ leader: body.leader })
    else if (body.leader !== null) output.line(body.leader)
    if (body.leader === null) throw new CommandFailure(EXIT_FAILED, 'there is no leader that this node knows of')
    return EXIT_OK
  }
  if (output.isJson) {
    output.json(body)
    return EXIT_OK
  }
  const names = (list: readonly string[]): string => (list.length === 0 ? '-' : list.join(', '))
  const waits = body.waiting_for === null ? [] : [`waits for  ${body.waiting_for}`]
  const lines = [
    `node       ${body.node}, ${body.role}`,
    `cluster    ${body.cluster_id ?? 'clustering is off'}, ${body.members} live`,
    `leader     ${body.leader ?? '-'}`,
    `term       ${body.term}, committed ${body.commit_index}, applied ${body.applied_index}`,
    `voters     ${names(body.voters)}`,
    `standbys   ${names(body.standbys)}`,
    `quorum     ${body.quorum ? 'yes' : 'no'}`,
    ...waits,
    ...body.checks.map(({ name, ok, detail }) => `${ok ? 'ok  ' : 'FAIL'}       ${name}: ${detail}`),
  ]
  for (const line of lines) output.line(line)
  return EXIT_OK
}

async function remove(name: string, options: Options & { force?: boolean }): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  const isForced = options.force === true
  if (isForced && !(await isTyped(name, `to take it out of the group although it is there`))) {
    throw new CommandFailure(EXIT_FAILED, `${name} was not removed`)
  }
  await ask(socket, '/v1/cluster/remove', { body: { name, force: isForced }, timeoutMs: ORDER_MS_MAX })
  if (output.isJson) output.json({ removed: name })
  else output.line(`${name} is no member of the group any more`)
  return EXIT_OK
}

async function transfer(to: string | undefined, options: Options): Promise<number> {
  const output = Output.standard(options)
  const order = { body: to === undefined ? {} : { to }, timeoutMs: ORDER_MS_MAX }
  const { leader } = await ask<{ leader: string }>(await findNode(options), '/v1/cluster/transfer', order)
  if (output.isJson) output.json({ leader })
  else output.line(`${leader} leads`)
  return EXIT_OK
}

async function resetStore(options: ResetOptions): Promise<number> {
  const output = Output.standard(options)
  const { node, dataDir, raftDir, yes } = options
  const own = joinPath(dataDir, node)
  if (await isRunning(own)) {
    throw new CommandFailure(EXIT_FAILED, `node ${node} is running; stop it first`)
  }
  if (yes !== true && !(await isTyped(node, 'to discard what its store holds'))) {
    throw new CommandFailure(EXIT_FAILED, `the store of ${node} was not touched`)
  }
  const { Store, wipeStore } = await import('../../../cluster/index.ts')
  const path = joinPath(raftDir ?? own, '_sys', 'raft')
  const held = joinPath(raftDir ?? own, '_sys', 'formation')
  if (!existsSync(path) && !existsSync(held))
    throw new CommandFailure(EXIT_FAILED, `there is no store at ${path}; see --data-dir and --raft-dir`)
  // Whoever has it open keeps it: a damaged one cannot be opened, and is what this command is for.
  if (existsSync(path)) {
    await Store.open({ path, retain: 1 }).then(
      (store) => store.close(),
      (error: unknown) => {
        if (error instanceof MoonmeshError && error.details?.['reason'] === 'locked') throw error
      },
    )
    await wipeStore(path)
  }
  // It may take part in another group than before.
  await rm(held, { force: true })
  if (output.isJson) output.json({ reset: node })
  else output.line(`the store of ${node} is gone; when the node starts again it joins as a new member`)
  return EXIT_OK
}

async function members(options: Options, output: Output): Promise<number> {
  const rows = await ask<MemberRow[]>(await findNode(options), '/v1/members')
  if (output.isJson) {
    output.json(rows)
    return EXIT_OK
  }
  output.table(rows, [
    { title: 'NAME', text: (row) => `${row.name}${row.local ? ' *' : ''}` },
    { title: 'ADDRESS', text: (row) => row.addr ?? '-' },
    { title: 'STATE', text: (row) => row.state },
    { title: 'ROLE', text: (row) => row.role },
    { title: 'SUFFRAGE', text: (row) => row.suffrage },
    { title: 'INCARNATION', text: (row) => String(row.incarnation), align: 'right' },
    { title: 'RTT', text: (row) => (row.rtt_ms === null ? '-' : `${row.rtt_ms.toFixed(1)}ms`), align: 'right' },
    { title: 'DOMAIN', text: (row) => (row.failure_domain === '' ? '-' : row.failure_domain) },
    { title: 'VERSION', text: (row) => (row.version === '' ? '-' : row.version) },
  ])
  return EXIT_OK
}

async function join(addresses: readonly string[], options: Options): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  const order = { body: { addresses }, timeoutMs: JOIN_MS_MAX }
  const { joined } = await ask<JoinBody>(socket, '/v1/cluster/join', order)
  if (output.isJson) output.json({ joined })
  if (joined === 0) {
    const which = addresses.length === 1 ? addresses[0] : `any of the ${addresses.length} addresses`
    const named = addresses.some((address) => address.includes('/')) ? ' of that name' : ''
    const text = `nobody${named} answered at ${which}; is a node${named} running there, with the same key and cluster.id? Its log and that of this node say what failed`
    throw new CommandFailure(EXIT_FAILED, text)
  }
  if (!output.isJson) output.line(`joined through ${joined === 1 ? '1 address' : `${joined} addresses`}`)
  return EXIT_OK
}

async function leave(options: Options): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  await ask(socket, '/v1/cluster/leave', { body: {} })
  const deadlineMs = performance.now() + LEAVE_MS_MAX
  while (await isListening(socket)) {
    if (performance.now() > deadlineMs) {
      throw new CommandFailure(EXIT_FAILED, `the node has not stopped within ${LEAVE_MS_MAX / 60_000} minutes`)
    }
    await new Promise((resolve) => setTimeout(resolve, LEAVE_POLL_MS))
  }
  if (output.isJson) output.json({ left: true })
  else output.line('the node has left the cluster and stopped')
  return EXIT_OK
}
