// A host whose processes do nothing but load: the chunks of an entry and of what it imports run as for any process, its method does not.

import { LuaHost } from './lua-host.ts'
import { LuaProcess } from './lua-process.ts'
import type { SpawnRequest } from './port.ts'
import type { Process } from './process.ts'

export class LoadingHost extends LuaHost {
  /** Of functions as of processes. */
  protected override create(pid: string, request: SpawnRequest): Process {
    return new LuaProcess(this, pid, request)
  }

  /** Over before the first instruction of the method, and of whatever the chunks have spawned. */
  override loaded(process: Process): void {
    super.loaded(process)
    this.ended(process, { ok: true, value: undefined })
  }
}
