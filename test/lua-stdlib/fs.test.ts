import { mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { StreamObject } from '../../lua-stdlib/stream.ts'
import { toBytes } from '../../runtime/base/bytes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { record } from '../../runtime/base/value.ts'
import type { LibraryModule, ScriptProcess } from '../../runtime/services.ts'
import { eventually } from '../tools/eventually.ts'
import { TestNode } from '../tools/lua.ts'

let root: string
let node: TestNode
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'moonmesh-fs-')))
})
afterEach(() => {
  node.close()
  rmSync(root, { recursive: true, force: true })
})

/** Gives `a` and then `b`; the second only when somebody has asked for a turn of `other`. */
const probe: LibraryModule = {
  name: 'probe',
  description: 'what the test looks at',
  tags: ['io'],
  build: () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    return {
      stream: (call) => {
        const pieces = ['a', 'b']
        return new StreamObject(call.owner as ScriptProcess, {
          read: async () => {
            if (pieces.length === 1) await released
            return pieces.shift()
          },
          stat: async () => ({ sizeBytes: undefined, position: 0 }),
          close: async () => {},
        })
      },
      other: () => release(),
    }
  },
}

/** Runs the body of `main`, in which `v` is the volume `app:data`. */
function start(body: string): void {
  const source = `local fs = require("fs") return function() local v = assert(fs.get("app:data")) ${body} end`
  node = new TestNode({ 'test:main': { source, modules: ['fs', 'probe', 'time'] } }, [probe])
  node.services.add('fs', {
    methods: {
      volume: ([id]) => {
        if (id !== 'app:data') throw new MoonmeshError('NotFound', 'filesystem not found')
        return record({ directory: toBytes(root), mode: 0o755 })
      },
    },
  })
}

const openBelow = (dir: string): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return path.startsWith(dir) ? [path] : []
    } catch {
      return []
    }
  })

describe('files of a process (lua-libraries.md §0.3, §18)', () => {
  test.skipIf(process.platform !== 'linux')('close when it ends, however it ends', async () => {
    for (const end of ['return 1', 'error("x")', 'process.terminate(process.pid())']) {
      start(`v:open("one", "w") v:open("two", "w"):scanner() ${end}`)
      await node.runOutside('test:main').catch(() => {})
      await eventually(() => expect(openBelow(root)).toEqual([]))
      node.close()
    }
    start('')
  })

  test.skipIf(process.platform !== 'linux')('close when it is terminated while one is being opened', async () => {
    start('local f = v:open("one", "w") time.sleep("1h")')
    for (let turns = 0; turns < 12; turns++) {
      const { pid } = node.spawn('test:main')
      for (let turn = 0; turn < turns; turn++) {
        await new Promise((next) => setImmediate(next))
        node.driver.settle()
      }
      node.relay.ask({ kind: 'terminate', to: pid, from: '' }, () => {})
      node.driver.settle()
    }
    await eventually(() => expect(openBelow(root)).toEqual([]))
  })

  test.skipIf(process.platform !== 'linux')('close when it goes on as another entry', async () => {
    start('local f = v:open("one", "w") process.upgrade("test:other")')
    node.close()
    const source = `return function() assert(require("fs").get("app:data"):open("one", "w")) process.upgrade("test:other") end`
    node = new TestNode({
      'test:main': { source, modules: ['fs'] },
      'test:other': 'return function() return "other" end',
    })
    node.services.add('fs', { methods: { volume: () => record({ directory: toBytes(root), mode: 0o755 }) } })
    expect(await node.runOutside('test:main')).toBe('other')
    await eventually(() => expect(openBelow(root)).toEqual([]))
  })
})

describe('fs (lua-libraries.md §18)', () => {
  test('operations let no other coroutine of the process run', async () => {
    start(`
      local order = {}
      coroutine.spawn(function() order[#order + 1] = "other" end)
      v:writefile("f", "x") v:readfile("f") v:stat("f")
      order[#order + 1] = "main"
      coroutine.yield()
      return table.concat(order, " ")`)
    expect(await node.runOutside('test:main')).toBe('main other')
  })

  test('a file is written from a stream that another coroutine feeds', async () => {
    start(`
      coroutine.spawn(function() require("probe").other() end)
      return { v:writefile("copy", require("probe").stream()) }`)
    expect(await node.runOutside('test:main')).toEqual([true])
    expect(readFileSync(join(root, 'copy'), 'utf8')).toBe('ab')
  })

  test('a volume whose directory has gone says so', async () => {
    start('')
    rmSync(root, { recursive: true })
    await expect(node.runOutside('test:main')).rejects.toMatchObject({
      kind: 'Internal',
      message: expect.stringContaining('not there any more'),
    })
  })

  test('a file is at most as long as a string can be', async () => {
    writeFileSync(join(root, 'big'), '')
    const { truncateSync } = await import('node:fs')
    truncateSync(join(root, 'big'), 256 * 1024 * 1024 + 1)
    start('local _, err = v:readfile("big") return err:kind() .. " " .. err:message()')
    expect(await node.runOutside('test:main')).toContain('LimitExceeded more than 268435456 bytes: /big')
  })
})
