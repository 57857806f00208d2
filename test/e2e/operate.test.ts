// What an operator has of a running node: its log, its events, its metrics. One node for the whole file. operations.md §2, §3, §5.

import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Cli, type CliResult, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli
let node: Program

beforeAll(async () => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'clerk.lua': CLERK, 'errands.lua': ERRANDS })
  node = cli.start(['run', 'app.yaml', '--log-format', 'json'])
  await node.until('"event":"ready"')
})

afterAll(() => cli.close())

const APP = `version: "1.0"
namespace: shop
node: { name: n1 }
entries:
  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: clerk, kind: process.lua, source: "file://clerk.lua", modules: [process, logger] }
  - { name: clerk.service, kind: process.service, process: clerk, host: processes, lifecycle: { auto_start: true } }
  - { name: errand, kind: process.lua, source: "return { main = function() process.send('clerk', 'hello') end }" }
  - { name: errands, kind: process.lua, source: "file://errands.lua", modules: [time] }
  - { name: errands.service, kind: process.service, process: errands, host: processes, lifecycle: { auto_start: true } }
`
/** Something to see: a process that starts, says something and ends, again and again. */
const ERRANDS = `local time = require("time")
local function main()
    local ends = process.events()
    while true do
        local later = time.after("50ms")
        if channel.select({ later:case_receive(), ends:case_receive() }).channel == ends then return end
        process.spawn("shop:errand", "shop:processes")
    end
end
return { main = main }
`
/** Logs what it is told. */
const CLERK = `local process, logger = require("process"), require("logger")
local function main()
    process.registry.register("clerk")
    logger:info("clerk is here")
    local inbox, ends = process.inbox(), process.events()
    while true do
        local got = channel.select({ inbox:case_receive(), ends:case_receive() })
        if got.channel == ends then return end
        logger:warn("told " .. got.value:topic())
    end
end
return { main = main }
`

const socketPath = (): string => join(cli.dir, '.runtime/n1/admin.sock')
const ok = async (...args: string[]): Promise<CliResult> => {
  const result = await cli.run(args)
  expect(result).toMatchObject({ code: 0, stderr: '' })
  return result
}

function stream(path: string): { text: () => string; stop: () => void } {
  let text = ''
  const sent = request({ socketPath: socketPath(), path, agent: false }, (response) => {
    response.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    response.on('error', () => {})
  })
  sent.on('error', () => {})
  sent.end()
  return { text: () => text, stop: () => void sent.destroy() }
}

test('logs: the last lines, chosen by level, entry and process; those to come with --follow', async () => {
  const { stdout } = await ok('logs', '--json', '-n', '1000')
  const records = JSON.parse(stdout) as { msg: string; entry?: string; pid?: string; line?: string }[]
  const own = records.find(({ msg }) => msg === 'clerk is here')
  expect(own).toMatchObject({
    entry: 'shop:clerk',
    line: 'shop:clerk:4',
    pid: expect.stringMatching(/^\{shop:processes\|/),
  })
  expect((await ok('logs', '-n', '1000')).stdout).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} +INFO: shop:clerk:4 #\w+ clerk is here$/m,
  )
  expect(JSON.parse((await ok('logs', '--json', '--level', 'error')).stdout)).toEqual([])
  expect((await ok('logs', '--entry', 'shop:clerk', '-n', '1')).stdout.trim().split('\n')).toHaveLength(1)
  expect(JSON.parse((await ok('logs', '--json', '--pid', own?.pid ?? '', '-n', '1')).stdout)).toHaveLength(1)
  expect(await cli.run(['logs', '--level', 'loud'])).toMatchObject({ code: 2 })

  const following = cli.start(['logs', '-f', '--json', '-n', '0', '--entry', 'shop:clerk'])
  await following.until(/("msg":"told hello".*\n.*){3}/)
  following.signal('SIGINT')
  expect((await following.exit()).code).toBe(0)
  for (const line of following.stdout.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ level: 'warn' })
})

test('attach: Lua inside the running node, typed or piped, and never over TCP', async () => {
  expect(await cli.run(['attach'], { input: 'return 1+1\n' })).toMatchObject({ code: 0, stdout: '2\n', stderr: '' })
  const [script, shown] = [
    'local all = system.hosts.processes("shop:processes")\nprint(#all > 0)\nreturn { host = all[1].host }\n',
    'true\n{\n',
  ]
  const piped = await cli.run(['attach'], { input: script })
  expect(piped).toMatchObject({ code: 0, stdout: expect.stringContaining(shown) })
  expect((await ok('attach', '-e', 'process.registry.lookup("clerk")')).stdout).toMatch(/^"\{shop:processes\|/)
  const failed = await cli.run(['attach', '-e', 'local x = nil\nreturn x.y'])
  expect(failed).toMatchObject({ code: 1, stdout: '' })
  expect(failed.stderr).toMatch(/^error: input:2: .*nil value.*\nstack traceback:/s)
  expect(await cli.run(['attach'], { input: 'for' })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('<eof>'),
  })
  const json = await ok('attach', '--json', '-e', 'print("a") return "b"')
  expect(JSON.parse(json.stdout)).toEqual({ ok: true, values: ['"b"'], printed: ['a'] })
  expect((await ok('ps', '--json')).stdout).toContain('shop:clerk')
})

test('--watch: what a command shows, again and again until Ctrl-C', async () => {
  for (const args of [['ps'], ['cluster', 'status'], ['cluster', 'members']]) {
    const watching = cli.start([...args, '--watch', '100ms', '--json'])
    await eventually(() => watching.stdout.split('\n').length > 3)
    watching.signal('SIGINT')
    expect((await watching.exit()).code).toBe(0)
    for (const line of watching.stdout.trim().split('\n')) JSON.parse(line)
  }
  expect(await cli.run(['ps', '--watch', 'often'])).toMatchObject({ code: 2 })
})

test('completion: a shell completes commands, options, their values and nodes', async () => {
  const { stdout: script } = await ok('completion', 'bash')
  cli.write({ 'complete.bash': script })
  const complete = async (...words: string[]): Promise<string[]> => {
    const quoted = ['runtime', ...words].map((word) => `'${word}'`).join(' ')
    const shell = `source complete.bash; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _moonmesh; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout } = await promisify(execFile)('bash', ['-c', shell], { cwd: cli.dir })
    return stdout.trim().split('\n')
  }
  expect(await complete('cl')).toEqual(['cluster'])
  expect(await complete('cluster', '')).toContain('members')
  expect(await complete('cluster', 'status', '--le')).toEqual(['--leader'])
  expect(await complete('logs', '--level', 'w')).toEqual(['warn'])
  expect(await complete('ps', '--node', '')).toEqual(['n1'])
  expect(await complete('run', 'ap')).toEqual(['app.yaml'])
  cli.write({ 'my app/one.yaml': '', 'my *.yaml': '', 'my "own".yaml': '' })
  const mine = ['my "own".yaml', 'my *.yaml', 'my app']
  for (const typed of ['my', 'my\\ ', '"my ']) expect((await complete('run', typed)).sort()).toEqual(mine)
  // Nor is anything run that somebody else has written into this folder.
  const hostile = join(cli.dir, '.runtime', '$(touch pwned)')
  mkdirSync(hostile)
  expect(await complete('ps', '--node', '')).toEqual(['n1'])
  rmdirSync(hostile)
  expect(existsSync(join(cli.dir, 'pwned'))).toBe(false)
  expect(await cli.run(['completion', 'csh'])).toMatchObject({ code: 2 })
})

const has = (shell: string): boolean => spawnSync(shell, ['--version'], { stdio: 'ignore' }).status === 0
const unless = (shell: string): string => (has(shell) ? '' : ` (skipped: ${shell} is not installed)`)

/** In an interactive zsh: what its line becomes when the tab key is pressed behind each of these, one after the other. */
const ZSH = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT='> '; cd $PWD; autoload -U +X compinit && compinit -u -D; source ./complete.zsh; runtime() { print -r -- R''AN \\\${(j:|:)@}. }; print RE''ADY"
zpty -r -m z out '*READY*'
for line in "$@"; do
  zpty -w -n z "runtime $line"$'\\t\\n'
  zpty -r -m z out '*RAN *.*'
  print -r -- \${\${out##*RAN }%.*}
done
zpty -d z
`

test.skipIf(!has('zsh'))(`completion in zsh${unless('zsh')}`, async () => {
  cli.write({ 'complete.zsh': (await ok('completion', 'zsh')).stdout, 'type.zsh': ZSH, 'zed app/one.yaml': '' })
  const lines = ['cl', 'cluster m', 'cluster status --le', 'logs --level w', 'ps --node ', 'run zed']
  const { stdout } = await promisify(execFile)('zsh', ['-f', 'type.zsh', ...lines], { cwd: cli.dir })
  const become = [
    'cluster',
    'cluster|members',
    'cluster|status|--leader',
    'logs|--level|warn',
    'ps|--node|n1',
    'run|zed app',
  ]
  expect(stdout.trim().split('\n')).toEqual(become)
})

test.skipIf(!has('fish'))(`completion in fish${unless('fish')}`, async () => {
  cli.write({ 'complete.fish': (await ok('completion', 'fish')).stdout, 'finned app/one.yaml': '' })
  const complete = async (typed: string): Promise<string[]> => {
    const shell = `source complete.fish; complete -C"${typed}"`
    const env = { ...process.env, HOME: cli.dir }
    const { stdout } = await promisify(execFile)('fish', ['--no-config', '-c', shell], { cwd: cli.dir, env })
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t')[0] as string]))
  }
  expect(await complete('runtime cl')).toEqual(['cluster'])
  expect(await complete('moonmesh cluster m')).toEqual(['members'])
  expect(await complete('runtime cluster status --le')).toEqual(['--leader'])
  expect(await complete('runtime logs --level w')).toEqual(['warn'])
  expect(await complete('runtime ps --node ')).toContain('n1')
  expect(await complete('runtime run finned')).toEqual(['finned app/'])
})

test('a node, a command or an option that is written wrong: what was meant', async () => {
  const meant = async (...args: string[]): Promise<string> => (await cli.run(args)).stderr
  expect(await meant('ps', '--node', 'n2')).toContain('did you mean "n1"?')
  expect(await meant('cluster', 'member')).toContain('Did you mean members?')
  expect(await meant('logs', '--folow')).toContain('Did you mean --follow?')
})

test('events: what happens is told as it happens', async () => {
  const events = stream('/v1/events?types=process')
  await eventually(() => expect(events.text()).toContain('"kind":"process.ended"'))
  events.stop()
  const [, text = '{}'] = /event: process\ndata: (\{"kind":"process.ended".*\})\n/.exec(events.text()) ?? []
  const { subject, data } = JSON.parse(text) as { subject: string; data: unknown }
  expect(subject).toMatch(/^\{shop:processes\|/)
  expect(data).toEqual({ entry: 'shop:errand', reason: 'ok' })
})

test('metrics: the figures of the runtime under their names', async () => {
  const { text, stop } = stream('/metrics')
  await eventually(() => expect(text()).toContain('scheduler_run_queue'))
  stop()
  for (const line of [
    'processes{host="shop:processes",state="waiting"}',
    'process_spawns_total ',
    'process_exits_total{reason="failed"} 0',
    'mailbox_messages ',
    'messages_total{kind="delivered"} ',
    'scheduler_slice_seconds_count',
    'event_loop_lag_seconds_count',
    'kv_watchers',
  ])
    expect(text()).toContain(line)
})
