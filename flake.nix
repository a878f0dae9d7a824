# The second builder: Nix fetches the files of a lock by hash and runs the kit's assembler in its sandbox.
# The result is the OCI layout that `speedrun image build` makes, to the byte.
{
  description = "Pinned images of the Automated LLM Speedrunning Benchmark";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.11";

  outputs = { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};

      python = pkgs.python311.withPackages (p: [ p.installer p.isal p.jsonschema p.rfc8785 ]);

      # Each input is a path of its own, so that a change elsewhere rebuilds no image.
      kit = builtins.path {
        name = "kit";
        path = ./kit;
        filter = path: type: baseNameOf path != "__pycache__";
      };
      fact = era: file: builtins.path { name = file; path = ./images + "/${era}/${file}"; };

      eras = builtins.filter
        (era: builtins.pathExists (./images + "/${era}/lock.json"))
        (builtins.attrNames (builtins.readDir ./images));

      deb = d: pkgs.fetchurl {
        name = "${d.name}.deb";
        urls = [ "mirror://debian/${d.pool}" "https://snapshot.debian.org/file/${d.sha1}" ];
        inherit (d) sha256;
      };

      # A wheel's file name says all that its address needs: project, version, build (if any), Python, ABI, platform.
      wheel = w:
        let
          stem = builtins.substring 0 (builtins.stringLength w.file - 4) w.file;
          parts = builtins.filter builtins.isString (builtins.split "-" stem);
          part = builtins.elemAt parts;
          last = builtins.length parts - 1;
        in
        if w ? url then
          pkgs.fetchurl { name = "${w.name}.whl"; inherit (w) url sha256; }
        else
          pkgs.fetchPypi {
            format = "wheel";
            pname = part 0;
            version = if last == 5 then "${part 1}-${part 2}" else part 1;
            dist = part (last - 2);
            python = part (last - 2);
            abi = part (last - 1);
            platform = part last;
            inherit (w) sha256;
          };

      file = f: pkgs.fetchurl { name = f.file; inherit (f) url sha256; };

      image = era:
        let
          lock = builtins.fromJSON (builtins.readFile (./images + "/${era}/lock.json"));
          place = fetch: entry: "ln -s ${fetch entry} store/blobs/sha256/${entry.sha256}\n";
        in
        pkgs.runCommand "speedrun-kit-image-${era}" { nativeBuildInputs = [ python ]; } ''
          mkdir -p store/blobs/sha256 source/images/${era}
          ${builtins.concatStringsSep "" (
            map (place deb) lock.debs ++ map (place wheel) lock.wheels ++ map (place file) (lock.files or [ ])
          )}
          ln -s ${kit} source/kit
          ln -s ${fact era "image.toml"} source/images/${era}/image.toml
          ln -s ${fact era "lock.json"} source/images/${era}/lock.json
          PYTHONPATH=source PYTHONDONTWRITEBYTECODE=1 python3 -c '
          import sys
          from pathlib import Path
          from kit.image.assemble import assemble
          from kit.core.store import Store
          made = assemble(sys.argv[1], Path("source/images"), Store(Path("store")), Path(sys.argv[2]))
          print("manifest sha256:" + made.manifest)
          ' ${era} $out
        '';

      # What was built is not told what was promised: that is compared here, by other means.
      promised = era: pkgs.runCommand "speedrun-kit-promise-${era}" { } ''
        grep '^manifest ' ${fact era "digest"} | {
          read -r word digest
          grep -F "\"digest\":\"$digest\"" ${image era}/index.json
        } > $out
      '';

      each = prefix: make: names:
        builtins.listToAttrs (map (era: { name = "${prefix}${era}"; value = make era; }) names);
    in
    {
      # nix build '.#"image-torch-2.5.1"' makes the image; "promise-…" compares it with its digest, too.
      packages.${system} = each "image-" image eras // each "promise-" promised eras;

      # 0.3 GB to fetch; a CUDA era's promise takes 3 GB, and is asked for by name.
      checks.${system} = each "promise-" promised [ "cpu" ];

      devShells.${system}.default = pkgs.mkShell {
        packages = [ pkgs.python311 pkgs.gnumake pkgs.git pkgs.openssl pkgs.runc pkgs.uv ];
      };
    };
}
